locals {
  volumes = merge([
    for name, host in local.hosts : {
      for folder, gib in host.volumes : "${name}:${folder}" => { host = name, gib = gib, folder = folder, place = host.place }
    }
  ]...)

  # /dev/sdf to /dev/sdp are for further volumes; the hosts find them by their ids.
  device_names = {
    for key, volume in local.volumes : key => "/dev/sd${substr(
      "fghijklmnop", index(sort(keys(local.hosts[volume.host].volumes)), volume.folder), 1
    )}"
  }
}

resource "aws_ebs_volume" "this" {
  for_each = local.volumes

  availability_zone = var.availability_zones[each.value.place]
  type              = "gp3"
  size              = each.value.gib
  encrypted         = true
  kms_key_id        = var.kms_key_arn

  tags = merge(var.tags, { Name = "${var.name}-${each.key}" })
}

resource "aws_volume_attachment" "this" {
  for_each = local.volumes

  device_name = local.device_names[each.key]
  instance_id = aws_instance.this[each.value.host].id
  volume_id   = aws_ebs_volume.this[each.key].id

  # A mounted volume can't be taken from a host that runs.
  stop_instance_before_detaching = true
}
