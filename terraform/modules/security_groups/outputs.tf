output "ids" {
  description = "The security groups' ids: hosts, one by the name of each inventory group, and load_balancer, model_tasks and model_load_balancer where they are wanted."
  value       = { for name, group in aws_security_group.this : name => group.id }
}
