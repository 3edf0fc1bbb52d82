mock_provider "aws" {}

variables {
  name              = "llm"
  vpc_id            = "vpc-1"
  subnet_ids        = ["subnet-public-a", "subnet-public-b"]
  security_group_id = "sg-load-balancer"
  gateways          = { gateway-1 = "i-1" }
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "a-name-that-is-longer-than-twenty"
  }

  expect_failures = [var.name]
}

run "refuses_an_unknown_type" {
  command = plan

  variables {
    type = "classic"
  }

  expect_failures = [var.type]
}

run "refuses_an_application_load_balancer_in_one_zone" {
  command = plan

  variables {
    type            = "application"
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0e0d0c"
    subnet_ids      = ["subnet-public-a"]
  }

  expect_failures = [var.subnet_ids]
}

run "refuses_a_port_that_is_none" {
  command = plan

  variables {
    gateway_ports = { http = 0 }
  }

  expect_failures = [var.gateway_ports]
}

run "refuses_a_certificate_that_is_none" {
  command = plan

  variables {
    type            = "application"
    certificate_arn = "llm.example.org"
  }

  expect_failures = [var.certificate_arn]
}

run "refuses_an_application_load_balancer_without_certificate" {
  command = plan

  variables {
    type = "application"
  }

  expect_failures = [var.certificate_arn]
}

run "refuses_a_timeout_that_cuts_answers" {
  command = plan

  variables {
    idle_timeout_seconds = 30
  }

  expect_failures = [var.idle_timeout_seconds]
}

run "refuses_a_delay_that_aws_would_not_take" {
  command = plan

  variables {
    deregistration_delay_seconds = 4000
  }

  expect_failures = [var.deregistration_delay_seconds]
}

run "refuses_a_bucket_that_is_an_address" {
  command = plan

  variables {
    access_logs_bucket = "s3://logs"
  }

  expect_failures = [var.access_logs_bucket]
}
