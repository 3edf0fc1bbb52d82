mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }
}

variables {
  availability_zones = ["eu-central-1a", "eu-central-1b"]
  ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0c0mFz admin@example.org"
  host_groups = {
    gateway = { groups = ["gateway"], instance_type = "t3.medium" }
    model   = { groups = ["model_servers"], instance_type = "c7i.2xlarge" }
    data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
  }
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "my_llm"
  }

  expect_failures = [var.name]
}

run "refuses_tags_that_are_others" {
  command = plan

  variables {
    tags = { Name = "llm" }
  }

  expect_failures = [var.tags]
}

run "refuses_a_kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/llm"
  }

  expect_failures = [var.kms_key_arn]
}

run "refuses_a_retention_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    log_retention_days = 100
  }

  expect_failures = [var.log_retention_days]
}

run "refuses_a_zone_twice" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "refuses_a_range_too_small_for_subnets" {
  command = plan

  variables {
    vpc_cidr = "10.0.0.0/24"
  }

  expect_failures = [var.vpc_cidr]
}

run "refuses_an_unknown_way_out" {
  command = plan

  variables {
    nat = "yes"
  }

  expect_failures = [var.nat]
}

run "refuses_tasks_that_could_not_get_their_images" {
  command = plan

  variables {
    nat          = "none"
    model_bucket = { name = "example-models" }
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "m", key = "m.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.nat]
}

run "refuses_an_endpoint_that_is_always_there" {
  command = plan

  variables {
    interface_endpoints = ["s3"]
  }

  expect_failures = [var.interface_endpoints]
}

run "refuses_a_client_that_is_no_range" {
  command = plan

  variables {
    client_cidrs = ["everyone"]
  }

  expect_failures = [var.client_cidrs]
}

run "refuses_ssh_from_the_internet" {
  command = plan

  variables {
    admin_cidrs = ["0.0.0.0/0"]
  }

  expect_failures = [var.admin_cidrs]
}

run "refuses_a_port_that_is_none" {
  command = plan

  variables {
    gateway_ports = { https = 99999 }
  }

  expect_failures = [var.gateway_ports]
}

run "refuses_a_port_that_swarm_has" {
  command = plan

  variables {
    gateway_ports = { http = 2377 }
  }

  expect_failures = [var.gateway_ports]
}

run "refuses_an_application_load_balancer_in_one_zone" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a"]
    load_balancer      = { type = "application", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0e0d0c" }
  }

  expect_failures = [var.load_balancer]
}

run "refuses_a_group_without_hosts" {
  command = plan

  variables {
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      model   = { groups = ["model_servers"], instance_type = "t3.medium" }
    }
  }

  expect_failures = [var.host_groups]
}

run "refuses_model_service_in_two_places" {
  command = plan

  variables {
    model_bucket = { name = "example-models" }
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
      model   = { groups = ["model_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "m", key = "m.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.host_groups]
}

run "refuses_tasks_with_several_cache_servers" {
  command = plan

  variables {
    model_bucket = { name = "example-models" }
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
      cache   = { groups = ["cache_servers"], instance_type = "t3.medium", count = 2 }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "m", key = "m.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_group_named_as_a_host" {
  command = plan

  variables {
    host_groups = {
      gateway   = { groups = ["gateway"], instance_type = "t3.medium" }
      data      = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
      model     = { groups = ["model_servers"], instance_type = "t3.medium" }
      "model-1" = { groups = ["model_servers"], instance_type = "t3.medium" }
    }
  }

  expect_failures = [var.host_groups]
}

run "refuses_an_image_that_is_no_id" {
  command = plan

  variables {
    ami_id = "debian"
  }

  expect_failures = [var.ami_id]
}

run "refuses_a_user_that_is_none" {
  command = plan

  variables {
    ssh_user = "the admin"
  }

  expect_failures = [var.ssh_user]
}

run "refuses_ssh_without_a_key" {
  command = plan

  variables {
    ssh_public_key = null
  }

  expect_failures = [var.ssh_public_key]
}

run "refuses_an_unknown_access" {
  command = plan

  variables {
    inventory_access = "telnet"
  }

  expect_failures = [var.inventory_access]
}

run "refuses_a_jump_through_gateways_that_are_not_reached" {
  command = plan

  variables {
    gateway_public_addresses = false
  }

  expect_failures = [var.inventory_access]
}

run "refuses_systems_manager_without_a_bucket" {
  command = plan

  variables {
    inventory_access = "ssm"
  }

  expect_failures = [var.ssm_transfer_bucket]
}

run "refuses_ecs_without_a_bucket" {
  command = plan

  variables {
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "m", key = "m.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.model_service_on_ecs]
}

run "refuses_ecs_in_one_zone" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a"]
    model_bucket       = { name = "example-models" }
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "m", key = "m.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  expect_failures = [var.model_service_on_ecs]
}
