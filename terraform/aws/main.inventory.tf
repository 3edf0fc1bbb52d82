# What the inventory plugin llm.orchestrator.terraform reads. An option that isn't used is absent, not null: a null would
# override a role's default.
locals {
  jump_hosts     = [for name, host in module.hosts.hosts : host.public_address if contains(host.groups, "gateway")]
  jump_arguments = var.inventory_access == "jump" ? "-o ProxyJump=${var.ssh_user}@${local.jump_hosts[0]}" : null

  inventory_hosts = {
    for name, host in module.hosts.hosts : name => {
      address = var.inventory_access == "jump" && contains(host.groups, "gateway") ? host.public_address : host.private_address
      groups  = host.groups
      vars = merge(
        { llm_private_address = host.private_address, llm_aws_instance_id = host.instance_id },
        {
          for option, value in { ansible_ssh_common_args = local.jump_arguments } :
          option => value if var.inventory_access == "jump" && !contains(host.groups, "gateway")
        },
        {
          for option, value in { ansible_aws_ssm_instance_id = host.instance_id } :
          option => value if var.inventory_access == "ssm"
        },
      )
    }
  }

  inventory_group_vars = {
    gateway = merge(
      { traefik_address = "0.0.0.0", traefik_port = var.gateway_ports.http, traefik_tls_port = var.gateway_ports.https },
      # An application load balancer speaks from there, for the clients that it names.
      {
        for option, value in { traefik_trusted_proxies = module.network.public_subnet_cidrs } :
        option => value if try(var.load_balancer.type, "network") == "application"
      },
    )
    model_servers = {
      for option, value in { model_service_s3_region = data.aws_region.current.name } :
      option => value if var.model_bucket != null
    }
    # Tasks are on none of the services' networks; the security group lets them in, and nobody else from outside.
    cache_servers = {
      for option, value in { cache_service_published_address = "0.0.0.0" } :
      option => value if var.model_service_on_ecs != null
    }
    storage_servers    = {}
    monitoring_servers = {}
  }

  # With hosts alone: a group that has none is no group of the inventory.
  filled_groups = distinct(flatten([for group in var.host_groups : tolist(group.groups)]))

  inventory_vars = merge(
    {
      llm_engine     = sum([for group in var.host_groups : group.count]) > 1 ? "swarm" : "docker"
      llm_aws_region = data.aws_region.current.name
    },
    { for option, value in { ansible_user = var.ssh_user } : option => value if var.inventory_access != "ssm" },
    {
      for option, value in {
        ansible_connection          = "amazon.aws.aws_ssm"
        ansible_aws_ssm_region      = data.aws_region.current.name
        ansible_aws_ssm_bucket_name = var.ssm_transfer_bucket
      } : option => value if var.inventory_access == "ssm"
    },
    {
      for option, value in { llm_image_registry = one(module.image_registry[*].prefix) } :
      option => value if var.image_registry != null
    },
    {
      for option, value in { llm_model_bucket = one(module.model_bucket[*].name) } :
      option => value if var.model_bucket != null
    },
    {
      for option, value in {
        llm_ecs_cluster          = one(module.ecs_model_service[*].cluster_name)
        llm_ecs_service          = one(module.ecs_model_service[*].service_name)
        llm_ecs_target_group_arn = one(module.ecs_model_service[*].target_group_arn)
        llm_ecs_url              = one(module.ecs_model_service[*].url)
        llm_ecs_host_name        = one(module.ecs_model_service[*].host_name)
      } : option => value if var.model_service_on_ecs != null
    },
  )
}

data "aws_region" "current" {}
