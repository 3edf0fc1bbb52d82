module "network" {
  source = "../modules/network"

  name                    = var.name
  cidr                    = var.vpc_cidr
  availability_zones      = var.availability_zones
  nat                     = var.nat
  interface_endpoints     = var.interface_endpoints
  flow_log_retention_days = var.log_retention_days
  kms_key_arn             = var.kms_key_arn
  tags                    = var.tags
}

module "security_groups" {
  source = "../modules/security_groups"

  name          = var.name
  vpc_id        = module.network.vpc_id
  client_cidrs  = var.client_cidrs
  admin_cidrs   = var.admin_cidrs
  gateway_ports = var.gateway_ports
  load_balancer = var.load_balancer != null
  model_tasks   = var.model_service_on_ecs != null
  tags          = var.tags
}

module "load_balancer" {
  source = "../modules/load_balancer"
  count  = var.load_balancer == null ? 0 : 1

  name                 = var.name
  type                 = var.load_balancer.type
  certificate_arn      = var.load_balancer.certificate_arn
  idle_timeout_seconds = var.load_balancer.idle_timeout_seconds
  access_logs_bucket   = var.load_balancer.access_logs_bucket
  vpc_id               = module.network.vpc_id
  subnet_ids           = module.network.public_subnet_ids
  security_group_id    = module.security_groups.ids["load_balancer"]
  gateway_ports        = var.gateway_ports
  gateways             = { for name, host in module.hosts.hosts : name => host.instance_id if contains(host.groups, "gateway") }
  deletion_protection  = var.deletion_protection
  tags                 = var.tags
}
