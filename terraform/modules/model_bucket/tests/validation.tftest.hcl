mock_provider "aws" {}

variables {
  name = "example-models"
}

run "refuses_a_name_with_dots" {
  command = plan

  variables {
    name = "models.example.org"
  }

  expect_failures = [var.name]
}

run "refuses_to_keep_nothing" {
  command = plan

  variables {
    noncurrent_days = 0
  }

  expect_failures = [var.noncurrent_days]
}

run "refuses_a_kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/llm"
  }

  expect_failures = [var.kms_key_arn]
}
