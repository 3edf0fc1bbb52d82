# Five hosts: a gateway, two for models, one for the cache and monitoring, one for storage.
provider "aws" {
  region = var.region
}

module "platform" {
  source = "../../aws"

  name               = var.name
  availability_zones = [for letter in ["a", "b"] : "${var.region}${letter}"]
  client_cidrs       = var.client_cidrs
  admin_cidrs        = var.admin_cidrs
  ssh_public_key     = var.ssh_public_key
  inventory_access   = var.inventory_access
  load_balancer      = {}

  host_groups = {
    gateway = { groups = ["gateway"], instance_type = "t3.medium", count = var.gateways }
    model   = { groups = ["model_servers"], instance_type = "c7i.2xlarge", count = var.model_hosts, root_volume_gib = 100 }
    data = {
      groups        = ["cache_servers", "monitoring_servers"]
      instance_type = "t3.medium"
      volumes       = { "/var/lib/docker" = 50 }
    }
    storage = {
      groups        = ["storage_servers"]
      instance_type = "t3.medium"
      volumes       = { "/var/lib/docker" = 200 }
    }
  }

  deletion_protection = var.deletion_protection
  tags                = { platform = var.name }
}
