module "hosts" {
  source = "../modules/hosts"

  name                     = var.name
  host_groups              = local.host_groups
  public_subnet_ids        = module.network.public_subnet_ids
  private_subnet_ids       = module.network.private_subnet_ids
  availability_zones       = var.availability_zones
  gateway_public_addresses = var.gateway_public_addresses
  security_group_ids       = module.security_groups.ids
  ami_id                   = var.ami_id
  ssh_public_key           = var.ssh_public_key
  group_policies           = local.group_policies
  kms_key_arn              = var.kms_key_arn
  tags                     = var.tags
}

locals {
  host_groups = {
    for name, group in var.host_groups : name => merge(group, {
      # Traefik's container finds the tasks with its host's role; no other container gets near one.
      metadata_hop_limit = var.model_service_on_ecs != null && contains(group.groups, "gateway") ? 2 : 1
    })
  }

  inventory_groups = ["gateway", "model_servers", "cache_servers", "storage_servers", "monitoring_servers"]

  # By inventory group: what its hosts may do, and no more.
  group_policies = {
    for group in local.inventory_groups : group => merge(
      var.image_registry == null ? {} : { pull-images = module.image_registry[0].pull_policy },
      var.model_bucket == null || group != "model_servers" ? {} : { read-models = module.model_bucket[0].read_policy },
      var.model_bucket == null || group != "storage_servers" ? {} : { write-models = module.model_bucket[0].write_policy },
      var.model_service_on_ecs == null || group != "gateway" ? {} : { find-tasks = module.ecs_model_service[0].discovery_policy },
    )
  }
}
