locals {
  fixed_hosts = {
    for name, host in local.hosts : name => {
      private_address   = aws_instance.this[name].private_ip
      public_address    = host.public ? aws_eip.this[name].public_ip : null
      instance_id       = aws_instance.this[name].id
      availability_zone = var.availability_zones[host.place]
      groups            = sort(host.groups)
    }
  }

  # Called after their instances, as numbers would move when one is replaced.
  autoscaled_hosts = merge([
    for name, group in local.autoscaled : {
      for index, id in data.aws_instances.autoscaled[name].ids : "${name}-${id}" => {
        private_address   = data.aws_instances.autoscaled[name].private_ips[index]
        public_address    = null
        instance_id       = id
        availability_zone = null
        groups            = sort(group.groups)
      }
    }
  ]...)
}

output "hosts" {
  description = "The hosts by name: private_address, public_address (null save for gateways), instance_id, availability_zone (null with autoscaling) and groups."
  value       = merge(local.fixed_hosts, local.autoscaled_hosts)
}

output "autoscaling_group_names" {
  description = "The autoscaling groups, by host group."
  value       = { for name, group in aws_autoscaling_group.this : name => group.name }
}
