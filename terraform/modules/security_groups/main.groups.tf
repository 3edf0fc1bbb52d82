locals {
  # For each: what it is put on.
  groups = merge(
    {
      hosts              = "Every host"
      gateway            = "Hosts of Traefik"
      model_servers      = "Hosts of model-service"
      cache_servers      = "Hosts of cache-service and Redis"
      storage_servers    = "Hosts of storage-service"
      monitoring_servers = "Hosts of monitoring-service and Prometheus"
    },
    var.load_balancer ? { load_balancer = "The load balancer in front of the gateways" } : {},
    var.model_tasks ? {
      model_tasks         = "Tasks of model-service on ECS"
      model_load_balancer = "The internal load balancer in front of the tasks"
    } : {},
  )
}

resource "aws_security_group" "this" {
  #checkov:skip=CKV2_AWS_5:What they are put on is made by the modules that get their ids.
  for_each = local.groups

  name        = "${var.name}-${replace(each.key, "_", "-")}"
  description = each.value
  vpc_id      = var.vpc_id

  tags = merge(var.tags, { Name = "${var.name}-${replace(each.key, "_", "-")}" })
}
