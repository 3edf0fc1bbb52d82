mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  name               = "llm"
  public_subnet_ids  = ["subnet-public-a"]
  private_subnet_ids = ["subnet-private-a"]
  availability_zones = ["eu-central-1a"]
  security_group_ids = { hosts = "sg-hosts", gateway = "sg-gateway", model_servers = "sg-model-servers" }
  host_groups        = { gateway = { groups = ["gateway"], instance_type = "t3.medium" } }
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "l"
  }

  expect_failures = [var.name]
}

run "refuses_a_group_name_that_no_host_could_have" {
  command = plan

  variables {
    host_groups = { "Gateway_1" = { groups = ["gateway"], instance_type = "t3.medium" } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_group_without_hosts" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", count = 0 } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_an_unknown_inventory_group" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateways"], instance_type = "t3.medium" } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_host_in_more_groups_than_it_can_have" {
  command = plan

  variables {
    host_groups = { all = { groups = ["gateway", "model_servers", "cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_type_that_is_none" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "medium" } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_root_volume_too_small_for_the_images" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", root_volume_gib = 8 } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_volume_without_an_absolute_folder" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", volumes = { "srv" = 10 } } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_more_volumes_than_a_host_can_have" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", volumes = { "/srv/1" = 10, "/srv/2" = 10, "/srv/3" = 10, "/srv/4" = 10, "/srv/5" = 10, "/srv/6" = 10, "/srv/7" = 10, "/srv/8" = 10, "/srv/9" = 10, "/srv/10" = 10, "/srv/11" = 10, "/srv/12" = 10 } } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_autoscaling_of_hosts_that_keep_data" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", autoscaling = true } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_volumes_of_hosts_that_come_and_go" {
  command = plan

  variables {
    host_groups = { model = { groups = ["model_servers"], instance_type = "t3.medium", autoscaling = true, volumes = { "/srv" = 10 } } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_a_metadata_service_that_reaches_further" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", metadata_hop_limit = 3 } }
  }

  expect_failures = [var.host_groups]
}

run "refuses_no_subnet" {
  command = plan

  variables {
    private_subnet_ids = []
    availability_zones = []
  }

  expect_failures = [var.private_subnet_ids]
}

run "refuses_zones_that_are_not_the_subnets" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1b"]
  }

  expect_failures = [var.availability_zones]
}

run "refuses_security_groups_without_that_of_all_hosts" {
  command = plan

  variables {
    security_group_ids = { gateway = "sg-gateway" }
  }

  expect_failures = [var.security_group_ids]
}

run "refuses_an_image_that_is_no_id" {
  command = plan

  variables {
    ami_id = "debian-12"
  }

  expect_failures = [var.ami_id]
}

run "refuses_a_key_that_is_a_files_name" {
  command = plan

  variables {
    ssh_public_key = "~/.ssh/id_ed25519.pub"
  }

  expect_failures = [var.ssh_public_key]
}

run "refuses_a_kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/llm"
  }

  expect_failures = [var.kms_key_arn]
}
