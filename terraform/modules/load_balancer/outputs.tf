output "arn" {
  description = "The load balancer."
  value       = aws_lb.this.arn
}

output "dns_name" {
  description = "Its address; point a CNAME or alias record at it."
  value       = aws_lb.this.dns_name
}

output "zone_id" {
  description = "The hosted zone for an alias record in Route 53."
  value       = aws_lb.this.zone_id
}

output "target_group_arns" {
  description = "The target groups, by http and https."
  value       = { for name, group in aws_lb_target_group.this : name => group.arn }
}
