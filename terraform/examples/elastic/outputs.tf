output "ansible_inventory" {
  description = "For the inventory plugin llm.orchestrator.terraform."
  value       = module.platform.ansible_inventory
}

output "address" {
  description = "Where clients reach the platform."
  value       = module.platform.load_balancer_dns_name
}

output "image_prefix" {
  description = "What the images' names begin with in the registry."
  value       = module.platform.image_prefix
}

output "ecs_model_service" {
  description = "model-service on ECS: cluster, service, target group, internal address and log group."
  value       = module.platform.ecs_model_service
}
