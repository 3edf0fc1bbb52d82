mock_provider "aws" {}

variables {
  name = "llm"
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "2llm"
  }

  expect_failures = [var.name]
}

run "refuses_an_image_with_a_tag" {
  command = plan

  variables {
    images = ["model-service:0.1.0"]
  }

  expect_failures = [var.images]
}

run "refuses_to_keep_too_few_for_a_rollback" {
  command = plan

  variables {
    kept_images = 1
  }

  expect_failures = [var.kept_images]
}

run "refuses_a_kms_alias" {
  command = plan

  variables {
    kms_key_arn = "alias/llm"
  }

  expect_failures = [var.kms_key_arn]
}
