# Groups whose failed hosts AWS replaces. A new host is bare until site.yml ran on it.
locals {
  autoscaled = { for name, group in var.host_groups : name => group if group.autoscaling }
}

resource "aws_launch_template" "this" {
  for_each = local.autoscaled

  name                   = "${var.name}-${each.key}"
  image_id               = data.aws_ami.this.id
  instance_type          = each.value.instance_type
  vpc_security_group_ids = local.security_group_ids[each.key]
  key_name               = one(aws_key_pair.this[*].key_name)
  ebs_optimized          = true
  update_default_version = true

  iam_instance_profile {
    name = aws_iam_instance_profile.this[each.key].name
  }

  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  monitoring {
    enabled = true
  }

  block_device_mappings {
    device_name = data.aws_ami.this.root_device_name

    ebs {
      volume_type = "gp3"
      volume_size = each.value.root_volume_gib
      encrypted   = true
      kms_key_id  = var.kms_key_arn
    }
  }

  tag_specifications {
    resource_type = "volume"
    tags          = merge(var.tags, { Name = "${var.name}-${each.key}" })
  }

  tags = var.tags

  lifecycle {
    ignore_changes = [image_id, block_device_mappings[0].device_name]
  }
}

resource "aws_autoscaling_group" "this" {
  for_each = local.autoscaled

  name                = "${var.name}-${each.key}"
  min_size            = each.value.count
  max_size            = each.value.count
  desired_capacity    = each.value.count
  vpc_zone_identifier = var.private_subnet_ids
  health_check_type   = "EC2"

  launch_template {
    id      = aws_launch_template.this[each.key].id
    version = aws_launch_template.this[each.key].latest_version
  }

  dynamic "tag" {
    for_each = merge(var.tags, { Name = "${var.name}-${each.key}" })

    content {
      key                 = tag.key
      value               = tag.value
      propagate_at_launch = true
    }
  }
}

# Who is there now. Another apply sees hosts that came since.
data "aws_instances" "autoscaled" {
  for_each = local.autoscaled

  instance_state_names = ["pending", "running"]

  filter {
    name   = "tag:aws:autoscaling:groupName"
    values = [aws_autoscaling_group.this[each.key].name]
  }

  # Read once the group is as wanted.
  depends_on = [aws_autoscaling_group.this]
}
