# Hosts for all but the models; model-service on ECS, on Fargate and Fargate Spot, with as many tasks as are needed.
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
    gateway = { groups = ["gateway"], instance_type = "t3.medium" }
    data = {
      groups        = ["cache_servers", "storage_servers", "monitoring_servers"]
      instance_type = "t3.large"
      volumes       = { "/var/lib/docker" = 200 }
    }
  }

  image_registry       = {}
  model_bucket         = { name = var.model_bucket }
  model_service_on_ecs = var.model_service

  deletion_protection = var.deletion_protection
  tags                = { platform = var.name }
}
