mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
}

variables {
  name                            = "llm"
  vpc_id                          = "vpc-1"
  subnet_ids                      = ["subnet-private-a", "subnet-private-b"]
  task_security_group_id          = "sg-model-tasks"
  load_balancer_security_group_id = "sg-model-load-balancer"
  image                           = "registry.example.org/llm/model-service:0.1.0"
  model = {
    name   = "qwen3-8b"
    bucket = "example-models"
    key    = "qwen3-8b.gguf"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "refuses_a_name_that_aws_would_not_take" {
  command = plan

  variables {
    name = "LLM"
  }

  expect_failures = [var.name]
}

run "refuses_a_single_subnet" {
  command = plan

  variables {
    subnet_ids = ["subnet-private-a"]
  }

  expect_failures = [var.subnet_ids]
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

run "refuses_an_image_that_moves" {
  command = plan

  variables {
    image = "registry.example.org/llm/model-service:latest"
  }

  expect_failures = [var.image]
}

run "refuses_a_repository_that_is_an_address" {
  command = plan

  variables {
    repository_arn = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm"
  }

  expect_failures = [var.repository_arn]
}

run "refuses_cpus_that_fargate_does_not_have" {
  command = plan

  variables {
    cpu = 3000
  }

  expect_failures = [var.cpu]
}

run "refuses_memory_that_fargate_does_not_have" {
  command = plan

  variables {
    memory_mib = 3000
  }

  expect_failures = [var.memory_mib]
}

run "refuses_a_disk_that_fargate_does_not_have" {
  command = plan

  variables {
    ephemeral_storage_gib = 500
  }

  expect_failures = [var.ephemeral_storage_gib]
}

run "refuses_a_model_name_with_a_path" {
  command = plan

  variables {
    model = { name = "qwen/qwen3-8b", bucket = "example-models", key = "qwen3-8b.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  }

  expect_failures = [var.model]
}

run "refuses_a_model_that_is_no_gguf" {
  command = plan

  variables {
    model = { name = "qwen3-8b", bucket = "example-models", key = "qwen3-8b.safetensors", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
  }

  expect_failures = [var.model]
}

run "refuses_a_model_without_its_digest" {
  command = plan

  variables {
    model = { name = "qwen3-8b", bucket = "example-models", key = "qwen3-8b.gguf", sha256 = "latest" }
  }

  expect_failures = [var.model]
}

run "refuses_a_fetch_image_that_moves" {
  command = plan

  variables {
    fetch_image = "public.ecr.aws/aws-cli/aws-cli:latest"
  }

  expect_failures = [var.fetch_image]
}

run "refuses_a_metrics_image_that_moves" {
  command = plan

  variables {
    metrics_image = "public.ecr.aws/cloudwatch-agent/cloudwatch-agent"
  }

  expect_failures = [var.metrics_image]
}

run "refuses_settings_of_something_else" {
  command = plan

  variables {
    environment = { PATH = "/bin" }
  }

  expect_failures = [var.environment]
}

run "refuses_api_keys_in_the_environment" {
  command = plan

  variables {
    environment = { MODEL_API_KEYS = "sk-1" }
  }

  expect_failures = [var.environment]
}

run "refuses_settings_that_follow_from_others" {
  command = plan

  variables {
    environment = { MODEL_DRAIN_TIMEOUT_SECONDS = "600" }
  }

  expect_failures = [var.environment]
}

run "refuses_api_keys_themselves" {
  command = plan

  variables {
    api_keys_parameter_arn = "sk-1,sk-2"
  }

  expect_failures = [var.api_keys_parameter_arn]
}

run "refuses_a_cache_without_protocol" {
  command = plan

  variables {
    cache_url = "cache-service:5001"
  }

  expect_failures = [var.cache_url]
}

run "refuses_a_prefix_that_is_no_path" {
  command = plan

  variables {
    path_prefix = "api/model/"
  }

  expect_failures = [var.path_prefix]
}

run "refuses_a_middleware_without_provider" {
  command = plan

  variables {
    gateway_middlewares = ["api-limits"]
  }

  expect_failures = [var.gateway_middlewares]
}

run "refuses_no_tasks" {
  command = plan

  variables {
    min_tasks = 0
  }

  expect_failures = [var.min_tasks]
}

run "refuses_a_maximum_below_the_minimum" {
  command = plan

  variables {
    max_tasks = 1
  }

  expect_failures = [var.max_tasks]
}

run "refuses_spot_alone" {
  command = plan

  variables {
    on_demand_base = 0
  }

  expect_failures = [var.on_demand_base]
}

run "refuses_weights_of_zero" {
  command = plan

  variables {
    spot_weight = 0
  }

  expect_failures = [var.spot_weight]
}

run "refuses_a_weight_below_zero" {
  command = plan

  variables {
    on_demand_weight = -1
  }

  expect_failures = [var.on_demand_weight]
}

run "refuses_a_stop_longer_than_fargate_waits" {
  command = plan

  variables {
    stop_timeout_seconds = 600
  }

  expect_failures = [var.stop_timeout_seconds]
}

run "refuses_a_delay_longer_than_spot_leaves" {
  command = plan

  variables {
    deregistration_delay_seconds = 300
  }

  expect_failures = [var.deregistration_delay_seconds]
}

run "refuses_a_start_that_no_model_meets" {
  command = plan

  variables {
    ready_timeout_seconds = 5
  }

  expect_failures = [var.ready_timeout_seconds]
}

run "refuses_a_cpu_target_out_of_range" {
  command = plan

  variables {
    cpu_target_percent = 100
  }

  expect_failures = [var.cpu_target_percent]
}

run "refuses_a_queue_target_of_zero" {
  command = plan

  variables {
    queue_target = 0
  }

  expect_failures = [var.queue_target]
}

run "refuses_a_certificate_that_is_none" {
  command = plan

  variables {
    certificate_arn = "llm.example.org"
  }

  expect_failures = [var.certificate_arn]
}
