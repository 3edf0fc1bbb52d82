# What comes from outside, and what goes there.
locals {
  # A load balancer listens on the web's ports, a gateway on its own.
  client_group = var.load_balancer ? "load_balancer" : "gateway"
  client_ports = var.load_balancer ? toset([80, 443]) : local.gateway_ports

  client_rules = {
    for pair in setproduct(var.client_cidrs, local.client_ports) :
    "${pair[0]}-${pair[1]}" => { cidr = pair[0], port = tonumber(pair[1]) }
  }

  # Packages (Debian's mirrors speak HTTP, with signed lists), images and models. DNS and time come from AWS itself,
  # which no security group keeps away.
  outgoing_rules = {
    for pair in setproduct(var.model_tasks ? ["hosts", "model_tasks"] : ["hosts"], [80, 443]) :
    "${pair[0]}-${pair[1]}" => { group = pair[0], port = tonumber(pair[1]) }
    # Tasks install nothing.
    if !(pair[0] == "model_tasks" && tonumber(pair[1]) == 80)
  }
}

resource "aws_vpc_security_group_ingress_rule" "client" {
  for_each = local.client_rules

  security_group_id = aws_security_group.this[local.client_group].id
  description       = "Clients"
  cidr_ipv4         = each.value.cidr
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port

  tags = var.tags
}

resource "aws_vpc_security_group_ingress_rule" "admin" {
  for_each = var.admin_cidrs

  security_group_id = aws_security_group.this["gateway"].id
  description       = "SSH of administrators"
  cidr_ipv4         = each.key
  ip_protocol       = "tcp"
  from_port         = 22
  to_port           = 22

  tags = var.tags
}

resource "aws_vpc_security_group_egress_rule" "internet" {
  for_each = local.outgoing_rules

  security_group_id = aws_security_group.this[each.value.group].id
  description       = each.value.port == 80 ? "Debian packages" : "Packages, images, models, AWS"
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "tcp"
  from_port         = each.value.port
  to_port           = each.value.port

  tags = var.tags
}
