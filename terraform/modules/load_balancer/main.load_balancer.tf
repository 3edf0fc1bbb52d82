locals {
  is_network = var.type == "network"
}

resource "aws_lb" "this" {
  #checkov:skip=CKV2_AWS_20:The listener on port 80 of an application load balancer does redirect; a network one passes TCP through to the gateways, which do.
  name               = var.name
  load_balancer_type = var.type
  internal           = false
  subnets            = var.subnet_ids
  security_groups    = [var.security_group_id]

  enable_deletion_protection       = var.deletion_protection
  enable_cross_zone_load_balancing = true
  drop_invalid_header_fields       = local.is_network ? null : true
  idle_timeout                     = local.is_network ? null : var.idle_timeout_seconds

  dynamic "access_logs" {
    for_each = var.access_logs_bucket == null ? [] : [var.access_logs_bucket]

    content {
      bucket  = access_logs.value
      enabled = true
    }
  }

  tags = var.tags
}
