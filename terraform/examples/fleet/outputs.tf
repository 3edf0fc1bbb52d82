output "ansible_inventory" {
  description = "For the inventory plugin llm.orchestrator.terraform."
  value       = module.platform.ansible_inventory
}

output "address" {
  description = "Where clients reach the platform."
  value       = module.platform.load_balancer_dns_name
}

output "gateway_addresses" {
  description = "The gateways' public addresses, by host."
  value       = module.platform.gateway_addresses
}
