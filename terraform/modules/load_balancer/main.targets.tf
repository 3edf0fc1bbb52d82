locals {
  # A network load balancer passes both ports on; behind an application load balancer there is HTTP alone.
  target_ports = local.is_network ? { http = var.gateway_ports.http, https = var.gateway_ports.https } : { http = var.gateway_ports.http }

  attachments = {
    for pair in setproduct(keys(local.target_ports), keys(var.gateways)) :
    "${pair[1]}:${pair[0]}" => { port = pair[0], instance_id = var.gateways[pair[1]] }
  }
}

resource "aws_lb_target_group" "this" {
  for_each = local.target_ports

  name                 = "${var.name}-${each.key}"
  vpc_id               = var.vpc_id
  target_type          = "instance"
  protocol             = local.is_network ? "TCP" : "HTTP"
  port                 = each.value
  deregistration_delay = var.deregistration_delay_seconds

  # A gateway answers / from monitoring-service, or with a 503 without it. If no gateway has it, all count as unhealthy,
  # and AWS then asks them all the same.
  health_check {
    protocol            = local.is_network ? "TCP" : "HTTP"
    path                = local.is_network ? null : "/"
    matcher             = local.is_network ? null : "200-499"
    interval            = 10
    healthy_threshold   = 2
    unhealthy_threshold = 2
  }

  tags = var.tags
}

resource "aws_lb_target_group_attachment" "this" {
  for_each = local.attachments

  target_group_arn = aws_lb_target_group.this[each.value.port].arn
  target_id        = each.value.instance_id
  port             = local.target_ports[each.value.port]
}
