# A name that stands for each task, by which monitoring finds them all. The gateway doesn't use it: Traefik asks ECS.
resource "aws_service_discovery_private_dns_namespace" "this" {
  name        = "${var.name}.internal"
  description = "Tasks of the cluster ${var.name}"
  vpc         = var.vpc_id

  tags = var.tags
}

resource "aws_service_discovery_service" "this" {
  name = local.service

  dns_config {
    namespace_id   = aws_service_discovery_private_dns_namespace.this.id
    routing_policy = "MULTIVALUE"

    dns_records {
      type = "A"
      ttl  = 10
    }
  }

  # ECS tells which tasks are well. Where it can't, it ends tasks on Fargate as if they had not started.
  health_check_custom_config {
    failure_threshold = 1
  }

  tags = var.tags
}
