# One address for all tasks, and the check by which a deployment goes on. Traefik's ECS provider finds tasks without it.
resource "aws_lb" "this" {
  #checkov:skip=CKV_AWS_91:The gateways log each request before it gets here.
  name               = "${var.name}-model"
  load_balancer_type = "application"
  internal           = true
  subnets            = var.subnet_ids
  security_groups    = [var.load_balancer_security_group_id]

  enable_deletion_protection = var.deletion_protection
  drop_invalid_header_fields = true
  # Answers that take long to begin; streams have a comment every 10 s.
  idle_timeout = 600

  tags = var.tags
}

resource "aws_lb_target_group" "this" {
  name                 = "${var.name}-model"
  vpc_id               = var.vpc_id
  target_type          = "ip"
  protocol             = "HTTP"
  port                 = local.port
  deregistration_delay = var.deregistration_delay_seconds

  # Slots are what limits a task, so the one with the fewest requests gets the next.
  load_balancing_algorithm_type = "least_outstanding_requests"

  health_check {
    path                = "/health/ready"
    matcher             = "200"
    interval            = 5
    timeout             = 3
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = var.tags
}

resource "aws_lb_listener" "this" {
  load_balancer_arn = aws_lb.this.arn
  protocol          = var.certificate_arn == null ? "HTTP" : "HTTPS"
  port              = var.certificate_arn == null ? 80 : 443
  certificate_arn   = var.certificate_arn
  ssl_policy        = var.certificate_arn == null ? null : "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this.arn
  }

  tags = var.tags
}
