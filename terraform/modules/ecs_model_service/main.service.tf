resource "aws_ecs_service" "this" {
  name            = local.service
  cluster         = aws_ecs_cluster.this.arn
  task_definition = aws_ecs_task_definition.this.arn
  desired_count   = var.min_tasks
  propagate_tags  = "SERVICE"

  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = var.ready_timeout_seconds
  wait_for_steady_state              = var.wait_for_steady_state

  # Spot falls back to nothing: the base stays.
  capacity_provider_strategy {
    capacity_provider = "FARGATE"
    base              = var.on_demand_base
    weight            = var.on_demand_weight
  }

  capacity_provider_strategy {
    capacity_provider = "FARGATE_SPOT"
    weight            = var.spot_weight
  }

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets          = var.subnet_ids
    security_groups  = [var.task_security_group_id]
    assign_public_ip = false
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.this.arn
    container_name   = local.service
    container_port   = local.port
  }

  service_registries {
    registry_arn = aws_service_discovery_service.this.arn
  }

  tags = var.tags

  lifecycle {
    # The number of tasks is autoscaling's.
    ignore_changes = [desired_count]
  }

  depends_on = [
    aws_ecs_cluster_capacity_providers.this,
    aws_iam_role_policy.execution,
    aws_iam_role_policy.task,
    aws_lb_listener.this,
  ]
}

# A release that the circuit breaker rolled back is a steady state to AWS, so an apply would end well.
data "aws_ecs_service" "deployed" {
  cluster_arn  = aws_ecs_cluster.this.arn
  service_name = local.service

  lifecycle {
    postcondition {
      condition     = !var.wait_for_steady_state || self.task_definition == aws_ecs_task_definition.this.arn
      error_message = "ECS runs ${self.task_definition}, not ${aws_ecs_task_definition.this.arn}: its tasks did not become healthy and the deployment was rolled back. See the stopped tasks' logs in the log group /${var.name}/${local.service}, then apply again."
    }
  }

  depends_on = [aws_ecs_service.this]
}
