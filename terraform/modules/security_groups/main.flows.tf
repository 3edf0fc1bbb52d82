# Who talks to whom. Each line becomes a rule on both ends, from group to group, and nothing else is open.
locals {
  gateway_ports = toset([var.gateway_ports.http, var.gateway_ports.https])

  service_flows = [
    { from = "gateway", to = "model_servers", port = 5000, why = "Requests to model-service" },
    { from = "gateway", to = "cache_servers", port = 5001, why = "Requests to cache-service" },
    { from = "gateway", to = "storage_servers", port = 5002, why = "Requests to storage-service" },
    { from = "gateway", to = "monitoring_servers", port = 5003, why = "The status page" },
    { from = "model_servers", to = "cache_servers", port = 5001, why = "Answers in the cache" },
    { from = "model_servers", to = "storage_servers", port = 5002, why = "Models in storage-service" },
    { from = "monitoring_servers", to = "model_servers", port = 5000, why = "Metrics of model-service" },
    { from = "monitoring_servers", to = "cache_servers", port = 5001, why = "Metrics of cache-service" },
    { from = "monitoring_servers", to = "cache_servers", port = 9121, why = "Metrics of Redis" },
    { from = "monitoring_servers", to = "storage_servers", port = 5002, why = "Metrics of storage-service" },
    { from = "monitoring_servers", to = "gateway", port = 8082, why = "Metrics of Traefik" },
    { from = "monitoring_servers", to = "hosts", port = 9100, why = "Metrics of hosts" },
  ]

  # Swarm's own: https://docs.docker.com/engine/swarm/swarm-tutorial/#open-protocols-and-ports-between-the-hosts
  swarm_flows = [
    { from = "hosts", to = "hosts", port = 2377, why = "Swarm management" },
    { from = "hosts", to = "hosts", port = 7946, why = "Swarm membership" },
    { from = "hosts", to = "hosts", port = 7946, protocol = "udp", why = "Swarm membership" },
    { from = "hosts", to = "hosts", port = 4789, protocol = "udp", why = "Overlay networks (VXLAN)" },
    { from = "hosts", to = "hosts", port = -1, protocol = "50", why = "Encrypted overlay networks (ESP)" },
  ]

  ssh_flows = [{ from = "gateway", to = "hosts", port = 22, why = "SSH through the gateway" }]

  # Models are fetched through the gateway where storage-service isn't published on its host.
  gateway_flows = [
    for port in local.gateway_ports :
    { from = "model_servers", to = "gateway", port = port, why = "Models through the gateway" }
  ]

  load_balancer_flows = var.load_balancer ? [
    for port in local.gateway_ports :
    { from = "load_balancer", to = "gateway", port = port, why = "Clients" }
  ] : []

  model_task_flows = var.model_tasks ? [
    { from = "gateway", to = "model_tasks", port = 5000, why = "Requests to tasks that Traefik found" },
    { from = "gateway", to = "model_load_balancer", port = 80, why = "Requests to all tasks" },
    { from = "gateway", to = "model_load_balancer", port = 443, why = "Requests to all tasks" },
    { from = "model_load_balancer", to = "model_tasks", port = 5000, why = "Requests and health checks" },
    { from = "model_tasks", to = "cache_servers", port = 5001, why = "Answers in the cache" },
    { from = "monitoring_servers", to = "model_tasks", port = 5000, why = "Metrics of model-service" },
  ] : []

  flows = {
    for flow in concat(
      local.service_flows, local.swarm_flows, local.ssh_flows, local.gateway_flows, local.load_balancer_flows,
      local.model_task_flows,
    ) :
    join("-", [flow.from, flow.to, try(flow.protocol, "tcp"), flow.port]) => merge({ protocol = "tcp" }, flow)
  }
}

resource "aws_vpc_security_group_ingress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.to].id
  referenced_security_group_id = aws_security_group.this[each.value.from].id
  description                  = each.value.why
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port == -1 ? null : each.value.port
  to_port                      = each.value.port == -1 ? null : each.value.port

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "flow" {
  for_each = local.flows

  security_group_id            = aws_security_group.this[each.value.from].id
  referenced_security_group_id = aws_security_group.this[each.value.to].id
  description                  = each.value.why
  ip_protocol                  = each.value.protocol
  from_port                    = each.value.port == -1 ? null : each.value.port
  to_port                      = each.value.port == -1 ? null : each.value.port

  tags = var.tags
}
