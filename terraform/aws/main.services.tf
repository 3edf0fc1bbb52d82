module "image_registry" {
  source = "../modules/image_registry"
  count  = var.image_registry == null ? 0 : 1

  name         = var.name
  kept_images  = var.image_registry.kept_images
  kms_key_arn  = var.kms_key_arn
  force_delete = !var.deletion_protection
  tags         = var.tags
}

module "model_bucket" {
  source = "../modules/model_bucket"
  count  = var.model_bucket == null ? 0 : 1

  name            = var.model_bucket.name
  noncurrent_days = var.model_bucket.noncurrent_days
  kms_key_arn     = var.kms_key_arn
  force_destroy   = !var.deletion_protection
  tags            = var.tags
}

module "ecs_model_service" {
  source = "../modules/ecs_model_service"
  count  = var.model_service_on_ecs == null ? 0 : 1

  name                            = var.name
  vpc_id                          = module.network.vpc_id
  subnet_ids                      = module.network.private_subnet_ids
  task_security_group_id          = module.security_groups.ids["model_tasks"]
  load_balancer_security_group_id = module.security_groups.ids["model_load_balancer"]
  repository_arn                  = local.model_repository_arn
  cache_url                       = local.cache_url

  image                        = var.model_service_on_ecs.image
  model                        = merge(var.model_service_on_ecs.model, { bucket = module.model_bucket[0].name })
  cpu                          = var.model_service_on_ecs.cpu
  memory_mib                   = var.model_service_on_ecs.memory_mib
  ephemeral_storage_gib        = var.model_service_on_ecs.ephemeral_storage_gib
  environment                  = var.model_service_on_ecs.environment
  api_keys_parameter_arn       = var.model_service_on_ecs.api_keys_parameter_arn
  certificate_arn              = var.model_service_on_ecs.certificate_arn
  min_tasks                    = var.model_service_on_ecs.min_tasks
  max_tasks                    = var.model_service_on_ecs.max_tasks
  on_demand_base               = var.model_service_on_ecs.on_demand_base
  on_demand_weight             = var.model_service_on_ecs.on_demand_weight
  spot_weight                  = var.model_service_on_ecs.spot_weight
  cpu_target_percent           = var.model_service_on_ecs.cpu_target_percent
  queue_target                 = var.model_service_on_ecs.queue_target
  stop_timeout_seconds         = var.model_service_on_ecs.stop_timeout_seconds
  deregistration_delay_seconds = var.model_service_on_ecs.deregistration_delay_seconds
  ready_timeout_seconds        = var.model_service_on_ecs.ready_timeout_seconds
  wait_for_steady_state        = var.model_service_on_ecs.wait_for_steady_state

  kms_key_arn         = var.kms_key_arn
  log_retention_days  = var.log_retention_days
  deletion_protection = var.deletion_protection
  tags                = var.tags
}

locals {
  model_repository_arn = var.image_registry == null ? null : module.image_registry[0].repository_arns["model-service"]

  # Tasks share the answers that the cache server keeps; with ECS there is one.
  cache_hosts = [for name, host in module.hosts.hosts : host.private_address if contains(host.groups, "cache_servers")]
  cache_url   = "http://${local.cache_hosts[0]}:5001"
}
