locals {
  # <group>-<number> => the host; one more or one less leaves the others alone.
  hosts = merge([
    for name, group in var.host_groups : {
      for index in range(group.count) : "${name}-${index + 1}" => merge(group, {
        host_group = name
        public     = var.gateway_public_addresses && contains(group.groups, "gateway")
        place      = index % length(var.private_subnet_ids)
      })
    } if !group.autoscaling
  ]...)

  security_group_ids = {
    for name, group in var.host_groups : name => concat(
      [var.security_group_ids["hosts"]], [for member in sort(group.groups) : var.security_group_ids[member]]
    )
  }
}

# Debian publishes its images under this account: https://wiki.debian.org/Cloud/AmazonEC2Image
data "aws_ami" "this" {
  owners      = var.ami_id == null ? ["136693071363"] : null
  most_recent = true

  filter {
    name   = var.ami_id == null ? "name" : "image-id"
    values = [var.ami_id == null ? "debian-12-amd64-*" : var.ami_id]
  }
}

resource "aws_key_pair" "this" {
  count = var.ssh_public_key == null ? 0 : 1

  key_name   = var.name
  public_key = var.ssh_public_key

  tags = var.tags
}

resource "aws_instance" "this" {
  for_each = local.hosts

  ami                    = data.aws_ami.this.id
  instance_type          = each.value.instance_type
  subnet_id              = (each.value.public ? var.public_subnet_ids : var.private_subnet_ids)[each.value.place]
  vpc_security_group_ids = local.security_group_ids[each.value.host_group]
  iam_instance_profile   = aws_iam_instance_profile.this[each.value.host_group].name
  key_name               = one(aws_key_pair.this[*].key_name)
  ebs_optimized          = true
  monitoring             = true

  user_data = length(each.value.volumes) == 0 ? null : templatefile("${path.module}/templates/mount_volumes.sh.tftpl", {
    volumes = { for folder in keys(each.value.volumes) : folder => aws_ebs_volume.this["${each.key}:${folder}"].id }
  })

  metadata_options {
    http_tokens                 = "required"
    http_put_response_hop_limit = each.value.metadata_hop_limit
  }

  root_block_device {
    volume_type = "gp3"
    volume_size = each.value.root_volume_gib
    encrypted   = true
    kms_key_id  = var.kms_key_arn
    tags        = merge(var.tags, { Name = "${var.name}-${each.key}" })
  }

  tags = merge(var.tags, { Name = "${var.name}-${each.key}" })

  lifecycle {
    # A newer image is for new hosts: these hold data.
    ignore_changes = [ami]
  }
}

resource "aws_eip" "this" {
  for_each = { for name, host in local.hosts : name => host if host.public }

  domain   = "vpc"
  instance = aws_instance.this[each.key].id

  tags = merge(var.tags, { Name = "${var.name}-${each.key}" })
}
