output "cluster_name" {
  description = "The cluster, for Traefik's ECS provider."
  value       = aws_ecs_cluster.this.name
}

output "cluster_arn" {
  description = "The cluster."
  value       = aws_ecs_cluster.this.arn
}

output "service_name" {
  description = "The service."
  value       = aws_ecs_service.this.name
}

output "task_definition_arn" {
  description = "What the service runs."
  value       = aws_ecs_task_definition.this.arn
}

output "target_group_arn" {
  description = "The tasks, as the load balancer knows them."
  value       = aws_lb_target_group.this.arn
}

output "url" {
  description = "The internal load balancer's address."
  value       = "${var.certificate_arn == null ? "http" : "https"}://${aws_lb.this.dns_name}"
}

output "host_name" {
  description = "The name in the VPC's DNS that stands for each task, up to eight of them at a time."
  value       = "${aws_service_discovery_service.this.name}.${aws_service_discovery_private_dns_namespace.this.name}"
}

output "log_group_name" {
  description = "Where the tasks' logs are."
  value       = aws_cloudwatch_log_group.this.name
}

output "discovery_policy" {
  description = "IAM policy that lets Traefik's ECS provider find the tasks."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect    = "Allow"
        Action    = ["ecs:ListTasks", "ecs:DescribeTasks"]
        Resource  = ["*"]
        Condition = { ArnEquals = { "ecs:cluster" = aws_ecs_cluster.this.arn } }
      },
      { Effect = "Allow", Action = ["ecs:DescribeClusters"], Resource = [aws_ecs_cluster.this.arn] },
      # It has no resource to name.
      { Effect = "Allow", Action = ["ecs:DescribeTaskDefinition"], Resource = ["*"] },
    ]
  })
}
