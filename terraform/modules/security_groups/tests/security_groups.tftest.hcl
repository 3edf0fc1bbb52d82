mock_provider "aws" {
  override_during = plan

  override_resource {
    target = aws_security_group.this["hosts"]
    values = { id = "sg-hosts" }
  }

  override_resource {
    target = aws_security_group.this["gateway"]
    values = { id = "sg-gateway" }
  }

  override_resource {
    target = aws_security_group.this["model_servers"]
    values = { id = "sg-model-servers" }
  }

  override_resource {
    target = aws_security_group.this["cache_servers"]
    values = { id = "sg-cache-servers" }
  }

  override_resource {
    target = aws_security_group.this["storage_servers"]
    values = { id = "sg-storage-servers" }
  }

  override_resource {
    target = aws_security_group.this["monitoring_servers"]
    values = { id = "sg-monitoring-servers" }
  }

  override_resource {
    target = aws_security_group.this["load_balancer"]
    values = { id = "sg-load-balancer" }
  }

  override_resource {
    target = aws_security_group.this["model_tasks"]
    values = { id = "sg-model-tasks" }
  }

  override_resource {
    target = aws_security_group.this["model_load_balancer"]
    values = { id = "sg-model-load-balancer" }
  }
}

variables {
  name         = "llm"
  vpc_id       = "vpc-1"
  client_cidrs = ["203.0.113.0/24"]
  admin_cidrs  = ["198.51.100.7/32"]
}

run "each_inventory_group_has_its_security_group" {
  command = plan

  assert {
    condition     = keys(output.ids) == ["cache_servers", "gateway", "hosts", "model_servers", "monitoring_servers", "storage_servers"]
    error_message = "There is a group for all hosts and one for each group of the inventory, and no other."
  }

  assert {
    condition     = aws_security_group.this["model_servers"].name == "llm-model-servers" && aws_security_group.this["model_servers"].vpc_id == "vpc-1"
    error_message = "A security group is named after what it is for."
  }
}

run "nothing_inside_is_open_to_addresses" {
  command = plan

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.cidr_ipv4 == null && rule.referenced_security_group_id != null])
    error_message = "Services are reached from groups, never from ranges."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.ip_protocol != "-1"])
    error_message = "No rule opens all protocols."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_ingress_rule.flow : rule.from_port == rule.to_port])
    error_message = "A rule opens one port."
  }
}

run "only_what_each_service_needs_reaches_it" {
  command = plan

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}" => rule.ip_protocol
    if rule.security_group_id == "sg-model-servers" } == { "sg-gateway:5000" = "tcp", "sg-monitoring-servers:5000" = "tcp" }
    error_message = "model-service is reached at 5000 by the gateway and Prometheus."
  }

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}" => rule.ip_protocol
      if rule.security_group_id == "sg-cache-servers" } == {
      "sg-gateway:5001" = "tcp", "sg-model-servers:5001" = "tcp", "sg-monitoring-servers:5001" = "tcp", "sg-monitoring-servers:9121" = "tcp"
    }
    error_message = "cache-service is reached at 5001 by the gateway, model-service and Prometheus; Redis by nobody."
  }

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}" => rule.ip_protocol
      if rule.security_group_id == "sg-storage-servers" } == {
      "sg-gateway:5002" = "tcp", "sg-model-servers:5002" = "tcp", "sg-monitoring-servers:5002" = "tcp"
    }
    error_message = "storage-service is reached at 5002 by the gateway, the model hosts and Prometheus."
  }

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}" => rule.ip_protocol
    if rule.security_group_id == "sg-monitoring-servers" } == { "sg-gateway:5003" = "tcp" }
    error_message = "monitoring-service is reached at 5003 by the gateway alone; Prometheus by nobody."
  }

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}" => rule.ip_protocol
      if rule.security_group_id == "sg-gateway" } == {
      "sg-monitoring-servers:8082" = "tcp", "sg-model-servers:8080" = "tcp", "sg-model-servers:8443" = "tcp"
    }
    error_message = "From inside, the gateway is reached by Prometheus, and by model hosts that fetch models."
  }
}

run "hosts_form_a_swarm_among_themselves" {
  command = plan

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.ip_protocol}:${coalesce(rule.from_port, 0)}"
    if rule.security_group_id == "sg-hosts" && rule.referenced_security_group_id == "sg-hosts"]) == toset(["tcp:2377", "tcp:7946", "udp:7946", "udp:4789", "50:0"])
    error_message = "Hosts reach each other at Swarm's ports: management, membership, VXLAN and ESP."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}"
    if rule.security_group_id == "sg-hosts" && rule.referenced_security_group_id != "sg-hosts"]) == toset(["sg-gateway:22", "sg-monitoring-servers:9100"])
    error_message = "Beside that, all hosts are reached by the gateway's SSH and by Prometheus."
  }
}

run "what_may_be_received_may_be_sent" {
  command = plan

  assert {
    condition = alltrue([for key, rule in aws_vpc_security_group_ingress_rule.flow :
      aws_vpc_security_group_egress_rule.flow[key].security_group_id == rule.referenced_security_group_id &&
      aws_vpc_security_group_egress_rule.flow[key].referenced_security_group_id == rule.security_group_id &&
      aws_vpc_security_group_egress_rule.flow[key].to_port == rule.to_port &&
      aws_vpc_security_group_egress_rule.flow[key].ip_protocol == rule.ip_protocol
    ])
    error_message = "Each rule has its counterpart on the other end."
  }

  assert {
    condition     = length(aws_vpc_security_group_egress_rule.flow) == length(aws_vpc_security_group_ingress_rule.flow)
    error_message = "No way out leads where no way in is."
  }
}

run "hosts_reach_the_web_and_nothing_else_outside" {
  command = plan

  assert {
    condition     = toset([for rule in aws_vpc_security_group_egress_rule.internet : "${rule.security_group_id}:${rule.ip_protocol}:${rule.from_port}-${rule.to_port}"]) == toset(["sg-hosts:tcp:80-80", "sg-hosts:tcp:443-443"])
    error_message = "Packages, images and models come over HTTP and HTTPS; nothing else goes out."
  }
}

run "clients_reach_the_gateway_from_their_ranges" {
  command = plan

  assert {
    condition = { for rule in aws_vpc_security_group_ingress_rule.client : "${rule.cidr_ipv4}:${rule.from_port}-${rule.to_port}" => rule.security_group_id } == {
      "203.0.113.0/24:8080-8080" = "sg-gateway", "203.0.113.0/24:8443-8443" = "sg-gateway"
    }
    error_message = "Clients get to the gateway's two ports, from the named ranges."
  }
}

run "nobody_is_let_in_unasked" {
  command = plan

  variables {
    client_cidrs = []
    admin_cidrs  = []
  }

  assert {
    condition     = length(aws_vpc_security_group_ingress_rule.client) + length(aws_vpc_security_group_ingress_rule.admin) == 0
    error_message = "Without ranges nothing is open to the outside."
  }
}

run "administrators_reach_ssh_of_the_gateway_alone" {
  command = plan

  assert {
    condition     = [for rule in aws_vpc_security_group_ingress_rule.admin : "${rule.security_group_id}:${rule.cidr_ipv4}:${rule.from_port}-${rule.to_port}"] == ["sg-gateway:198.51.100.7/32:22-22"]
    error_message = "SSH is open at the gateway, from the administrators' ranges."
  }
}

run "behind_a_load_balancer_clients_reach_that_alone" {
  command = plan

  variables {
    load_balancer = true
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.client : "${rule.security_group_id}:${rule.from_port}"]) == toset(["sg-load-balancer:80", "sg-load-balancer:443"])
    error_message = "Clients reach the load balancer at the web's ports."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.flow : rule.from_port
    if rule.security_group_id == "sg-gateway" && rule.referenced_security_group_id == "sg-load-balancer"]) == toset([8080, 8443])
    error_message = "The load balancer reaches the gateway's two ports."
  }
}

run "the_gateways_ports_follow_the_variable" {
  command = plan

  variables {
    gateway_ports = { http = 80, https = 443 }
  }

  assert {
    condition     = toset([for rule in aws_vpc_security_group_ingress_rule.client : rule.from_port]) == toset([80, 443])
    error_message = "The ports that are open are those that the gateway is published on."
  }
}

run "tasks_are_reached_by_the_gateway_their_load_balancer_and_prometheus" {
  command = plan

  variables {
    model_tasks = true
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}"
    if rule.security_group_id == "sg-model-tasks"]) == toset(["sg-gateway:5000", "sg-model-load-balancer:5000", "sg-monitoring-servers:5000"])
    error_message = "Tasks are reached at 5000, by those who ask them."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_egress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}"
    if rule.security_group_id == "sg-model-tasks"]) == toset(["sg-cache-servers:5001"])
    error_message = "Tasks reach the cache."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_egress_rule.internet : rule.from_port
    if rule.security_group_id == "sg-model-tasks"]) == toset([443])
    error_message = "Tasks reach AWS by HTTPS, and no web in the clear."
  }

  assert {
    condition = toset([for rule in aws_vpc_security_group_ingress_rule.flow : "${rule.referenced_security_group_id}:${rule.from_port}"
    if rule.security_group_id == "sg-model-load-balancer"]) == toset(["sg-gateway:80", "sg-gateway:443"])
    error_message = "The internal load balancer is reached by the gateway alone."
  }
}
