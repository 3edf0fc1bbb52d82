# What the modules are told by the root.
mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/llm" }
  }

  mock_resource "aws_iam_role" {
    defaults = { id = "llm", arn = "arn:aws:iam::111122223333:role/llm" }
  }

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/llm/1", dns_name = "internal-llm-model.example.org" }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-model/1" }
  }

  mock_resource "aws_ecr_repository" {
    defaults = { arn = "arn:aws:ecr:eu-central-1:111122223333:repository/llm/base", repository_url = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm/base" }
  }

  mock_resource "aws_s3_bucket" {
    defaults = { id = "example-models", arn = "arn:aws:s3:::example-models" }
  }

  mock_resource "aws_ecs_cluster" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:cluster/llm" }
  }

  mock_resource "aws_ecs_task_definition" {
    defaults = { arn = "arn:aws:ecs:eu-central-1:111122223333:task-definition/llm-model-service:7" }
  }

  mock_data "aws_ecs_service" {
    defaults = { task_definition = "arn:aws:ecs:eu-central-1:111122223333:task-definition/llm-model-service:7" }
  }

  mock_data "aws_ami" {
    defaults = { id = "ami-0123456789abcdef0", root_device_name = "/dev/xvda" }
  }

  mock_resource "aws_subnet" {
    defaults = { id = "subnet-1" }
  }

  mock_resource "aws_security_group" {
    defaults = { id = "sg-1" }
  }

  mock_resource "aws_ebs_volume" {
    defaults = { id = "vol-1" }
  }

  override_resource {
    target = module.hosts.aws_instance.this["gateway-1"]
    values = { id = "i-gateway", private_ip = "10.0.0.10" }
  }

  override_resource {
    target = module.hosts.aws_eip.this["gateway-1"]
    values = { public_ip = "198.51.100.10" }
  }

  override_resource {
    target = module.hosts.aws_instance.this["model-1"]
    values = { id = "i-model", private_ip = "10.0.128.11" }
  }

  override_resource {
    target = module.hosts.aws_instance.this["data-1"]
    values = { id = "i-data", private_ip = "10.0.128.12" }
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

run "the_load_balancer_is_in_front_of_the_gateways" {
  command = plan

  variables {
    load_balancer = {}
    client_cidrs  = ["203.0.113.0/24"]
  }

  assert {
    condition     = length(module.load_balancer) == 1
    error_message = "There is one where one is wanted."
  }

  assert {
    condition     = contains(keys(module.security_groups.ids), "load_balancer") && !contains(keys(module.security_groups.ids), "model_tasks")
    error_message = "It has a security group."
  }
}

run "nothing_costs_that_nobody_asked_for" {
  command = plan

  assert {
    condition     = length(module.load_balancer) + length(module.image_registry) + length(module.model_bucket) + length(module.ecs_model_service) == 0
    error_message = "Hosts and their network are all there is by default."
  }

  assert {
    condition     = output.load_balancer_dns_name == null && output.image_prefix == null && output.model_bucket == null && output.ecs_model_service == null
    error_message = "What isn't there is null."
  }
}

run "hosts_may_what_their_groups_need" {
  command = plan

  variables {
    image_registry = {}
    model_bucket   = { name = "example-models" }
  }

  assert {
    condition     = { for group, policies in local.group_policies : group => join(",", keys(policies)) } == { cache_servers = "pull-images", gateway = "pull-images", model_servers = "pull-images,read-models", monitoring_servers = "pull-images", storage_servers = "pull-images,write-models" }
    error_message = "Model hosts read models, storage hosts write them; all pull images."
  }

  assert {
    condition     = local.group_policies["model_servers"]["read-models"] == module.model_bucket[0].read_policy && local.group_policies["storage_servers"]["write-models"] == module.model_bucket[0].write_policy
    error_message = "Each gets the policy that its name says."
  }

  assert {
    condition     = output.ansible_inventory.groups["model_servers"].vars.model_service_s3_region == "eu-central-1"
    error_message = "Model hosts know the bucket's region."
  }
}

run "containers_get_at_a_role_on_gateways_of_ecs_alone" {
  command = plan

  variables {
    model_bucket = { name = "example-models" }
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "registry.example.org/llm/model-service:0.1.0"
      model = { name = "qwen3-8b", key = "qwen3-8b.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  assert {
    condition     = { for name, group in local.host_groups : name => group.metadata_hop_limit } == { gateway = 2, data = 1 }
    error_message = "Traefik's container finds tasks with its host's role; no other container gets one."
  }

  assert {
    condition     = keys(local.group_policies["gateway"]) == ["find-tasks"]
    error_message = "The gateway may find tasks."
  }

  assert {
    condition     = local.cache_url == "http://10.0.128.12:5001"
    error_message = "Tasks use the cache server's private address."
  }
}

run "on_hosts_no_container_gets_at_a_role" {
  command = plan

  assert {
    condition     = alltrue([for group in local.host_groups : group.metadata_hop_limit == 1])
    error_message = "Without ECS no container needs one."
  }
}
