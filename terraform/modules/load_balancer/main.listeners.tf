resource "aws_lb_listener" "tcp" {
  for_each = local.is_network ? { http = 80, https = 443 } : {}

  load_balancer_arn = aws_lb.this.arn
  protocol          = "TCP"
  port              = each.value

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this[each.key].arn
  }

  tags = var.tags
}

resource "aws_lb_listener" "redirect" {
  for_each = local.is_network ? {} : { http = 80 }

  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTP"
  port              = each.value

  default_action {
    type = "redirect"

    redirect {
      protocol    = "HTTPS"
      port        = "443"
      status_code = "HTTP_301"
    }
  }

  tags = var.tags
}

resource "aws_lb_listener" "https" {
  for_each = local.is_network ? {} : { https = 443 }

  load_balancer_arn = aws_lb.this.arn
  protocol          = "HTTPS"
  port              = each.value
  certificate_arn   = var.certificate_arn
  ssl_policy        = "ELBSecurityPolicy-TLS13-1-2-2021-06"

  default_action {
    type             = "forward"
    target_group_arn = aws_lb_target_group.this["http"].arn
  }

  tags = var.tags
}
