# What AWS says after a deployment is read after it: applies, of a mocked provider.
mock_provider "aws" {
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-central-1:111122223333:service/srv-1" }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/llm-model-service:7" }
  }

  mock_data "aws_ecs_service" {
    defaults = { task_definition = "arn:aws:ecs:eu-central-1:111122223333:task-definition/llm-model-service:6" }
  }

  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/llm" }
  }

  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::111122223333:role/llm-model" }
  }

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/llm-model/1" }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-model/1" }
  }
}

variables {
  name                            = "llm"
  vpc_id                          = "vpc-1"
  subnet_ids                      = ["subnet-private-a", "subnet-private-b"]
  task_security_group_id          = "sg-model-tasks"
  load_balancer_security_group_id = "sg-model-load-balancer"
  image                           = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm/model-service:0.1.0"
  repository_arn                  = "arn:aws:ecr:eu-central-1:111122223333:repository/llm/model-service"
  model = {
    name   = "qwen3-8b"
    bucket = "example-models"
    key    = "qwen3-8b.gguf"
    sha256 = "0000000000000000000000000000000000000000000000000000000000000000"
  }
}

run "a_release_that_was_rolled_back_fails_the_apply" {
  command = apply

  expect_failures = [data.aws_ecs_service.deployed]
}

run "who_does_not_wait_is_not_told" {
  command = apply

  variables {
    wait_for_steady_state = false
  }

  assert {
    condition     = output.task_definition_arn == "arn:aws:ecs:eu-central-1:111122223333:task-definition/llm-model-service:7"
    error_message = "The apply ends while the deployment goes on."
  }
}
