mock_provider "aws" {}

variables {
  name               = "llm"
  availability_zones = ["eu-central-1a", "eu-central-1b"]
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "LLM_platform"
  }

  expect_failures = [var.name]
}

run "refuses_a_range_that_does_not_begin_at_its_first_address" {
  command = plan

  variables {
    cidr = "10.0.0.1/16"
  }

  expect_failures = [var.cidr]
}

run "refuses_a_range_too_small_for_subnets" {
  command = plan

  variables {
    cidr = "10.0.0.0/24"
  }

  expect_failures = [var.cidr]
}

run "refuses_no_zone" {
  command = plan

  variables {
    availability_zones = []
  }

  expect_failures = [var.availability_zones]
}

run "refuses_a_zone_twice" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1a"]
  }

  expect_failures = [var.availability_zones]
}

run "refuses_an_unknown_way_out" {
  command = plan

  variables {
    nat = "one"
  }

  expect_failures = [var.nat]
}

run "refuses_a_full_endpoint_name" {
  command = plan

  variables {
    interface_endpoints = ["https://ecr.api"]
  }

  expect_failures = [var.interface_endpoints]
}

run "refuses_s3_as_an_endpoint_that_costs" {
  command = plan

  variables {
    interface_endpoints = ["s3"]
  }

  expect_failures = [var.interface_endpoints]
}

run "refuses_a_retention_that_cloudwatch_does_not_know" {
  command = plan

  variables {
    flow_log_retention_days = 100
  }

  expect_failures = [var.flow_log_retention_days]
}

run "refuses_a_kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/llm"
  }

  expect_failures = [var.kms_key_arn]
}
