output "ansible_inventory" {
  description = "What the inventory plugin llm.orchestrator.terraform reads: hosts with address, groups and variables, the groups' variables, and those of all."
  value = {
    version = 1
    hosts   = local.inventory_hosts
    groups  = { for group in local.filled_groups : group => { vars = local.inventory_group_vars[group] } }
    vars    = local.inventory_vars
  }

  precondition {
    condition     = alltrue([for host in module.hosts.hosts : host.private_address != ""])
    error_message = "A host has no private address yet: apply again."
  }
}

output "gateway_addresses" {
  description = "The gateways' public addresses, by host."
  value       = { for name, host in module.hosts.hosts : name => host.public_address if host.public_address != null }
}

output "load_balancer_dns_name" {
  description = "The load balancer's address. null without one."
  value       = one(module.load_balancer[*].dns_name)
}

output "image_prefix" {
  description = "What the images' names begin with in the registry. null without one."
  value       = one(module.image_registry[*].prefix)
}

output "model_bucket" {
  description = "The bucket for models. null without one."
  value       = one(module.model_bucket[*].name)
}

output "ecs_model_service" {
  description = "model-service on ECS: cluster, service, target group, internal address and log group. null where it runs on hosts."
  value = one([for service in module.ecs_model_service : {
    cluster          = service.cluster_name
    service          = service.service_name
    target_group_arn = service.target_group_arn
    url              = service.url
    log_group        = service.log_group_name
  }])
}

output "vpc_id" {
  description = "The VPC."
  value       = module.network.vpc_id
}
