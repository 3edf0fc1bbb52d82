mock_provider "aws" {}

variables {
  name   = "llm"
  vpc_id = "vpc-1"
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "llm-"
  }

  expect_failures = [var.name]
}

run "refuses_a_client_that_is_no_range" {
  command = plan

  variables {
    client_cidrs = ["203.0.113.7"]
  }

  expect_failures = [var.client_cidrs]
}

run "refuses_an_administrator_that_is_no_range" {
  command = plan

  variables {
    admin_cidrs = ["office"]
  }

  expect_failures = [var.admin_cidrs]
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
    gateway_ports = { http = 70000 }
  }

  expect_failures = [var.gateway_ports]
}

run "refuses_one_port_for_both" {
  command = plan

  variables {
    gateway_ports = { http = 8443 }
  }

  expect_failures = [var.gateway_ports]
}
