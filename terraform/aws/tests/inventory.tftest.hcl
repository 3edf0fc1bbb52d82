# The contract with the inventory plugin: what it reads, to the last key.
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

run "hosts_are_reached_through_the_gateway" {
  command = plan

  assert {
    condition     = output.ansible_inventory.version == 1
    error_message = "The version says what a reader may expect."
  }

  assert {
    condition     = { for name, host in output.ansible_inventory.hosts : name => host.address } == { gateway-1 = "198.51.100.10", model-1 = "10.0.128.11", data-1 = "10.0.128.12" }
    error_message = "A gateway is reached at its public address, the others at their private ones."
  }

  assert {
    condition     = output.ansible_inventory.hosts["model-1"].vars.ansible_ssh_common_args == "-o ProxyJump=admin@198.51.100.10"
    error_message = "SSH gets to the others through the gateway."
  }

  assert {
    condition     = !contains(keys(output.ansible_inventory.hosts["gateway-1"].vars), "ansible_ssh_common_args")
    error_message = "The gateway is not reached through itself."
  }

  assert {
    condition     = output.ansible_inventory.hosts["gateway-1"].vars.llm_private_address == "10.0.0.10" && output.ansible_inventory.hosts["gateway-1"].vars.llm_aws_instance_id == "i-gateway"
    error_message = "A host's private address is known, too: other hosts reach it there."
  }
}

run "hosts_are_in_the_playbooks_groups" {
  command = plan

  assert {
    condition     = { for name, host in output.ansible_inventory.hosts : name => join(",", host.groups) } == { gateway-1 = "gateway", model-1 = "model_servers", data-1 = "cache_servers,monitoring_servers,storage_servers" }
    error_message = "Each host is in the groups that it is for."
  }

  assert {
    condition     = keys(output.ansible_inventory.groups) == ["cache_servers", "gateway", "model_servers", "monitoring_servers", "storage_servers"]
    error_message = "All five groups are there."
  }

  assert {
    condition     = alltrue([for group in output.ansible_inventory.groups : keys(group) == ["vars"]])
    error_message = "A group has variables, and nothing else."
  }

  assert {
    condition     = jsonencode(output.ansible_inventory.groups["gateway"].vars) == jsonencode({ traefik_address = "0.0.0.0", traefik_port = 8080, traefik_tls_port = 8443 })
    error_message = "The gateway is published on the ports that are open."
  }
}

run "several_hosts_are_a_swarm" {
  command = plan

  assert {
    condition     = jsonencode(output.ansible_inventory.vars) == jsonencode({ ansible_user = "admin", llm_aws_region = "eu-central-1", llm_engine = "swarm" })
    error_message = "All hosts have the image's user, and the engine of several hosts; and no variable that nothing sets."
  }
}

run "inside_the_network_hosts_are_reached_directly" {
  command = plan

  variables {
    inventory_access         = "direct"
    gateway_public_addresses = false
    ssh_user                 = "debian"
  }

  assert {
    condition     = { for name, host in output.ansible_inventory.hosts : name => host.address } == { gateway-1 = "10.0.0.10", model-1 = "10.0.128.11", data-1 = "10.0.128.12" }
    error_message = "All are reached at their private addresses."
  }

  assert {
    condition     = alltrue([for host in output.ansible_inventory.hosts : !contains(keys(host.vars), "ansible_ssh_common_args")])
    error_message = "SSH needs no detour."
  }

  assert {
    condition     = output.ansible_inventory.vars.ansible_user == "debian" && length(output.gateway_addresses) == 0
    error_message = "The user is the given one, and no address is public."
  }
}

run "systems_manager_needs_no_open_port" {
  command = plan

  variables {
    inventory_access    = "ssm"
    ssh_public_key      = null
    ssm_transfer_bucket = "example-transfer"
  }

  assert {
    condition = jsonencode(output.ansible_inventory.vars) == jsonencode({
      ansible_aws_ssm_bucket_name = "example-transfer", ansible_aws_ssm_region = "eu-central-1", ansible_connection = "amazon.aws.aws_ssm",
      llm_aws_region              = "eu-central-1", llm_engine = "swarm"
    })
    error_message = "Ansible connects by Systems Manager, as nobody in particular."
  }

  assert {
    condition     = output.ansible_inventory.hosts["model-1"].vars.ansible_aws_ssm_instance_id == "i-model"
    error_message = "A host is known there by its instance."
  }
}

run "a_trusted_proxy_is_named_where_there_is_one" {
  command = plan

  variables {
    load_balancer = { type = "application", certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0e0d0c" }
  }

  assert {
    condition     = output.ansible_inventory.groups["gateway"].vars.traefik_trusted_proxies == ["10.0.0.0/20", "10.0.16.0/20"]
    error_message = "Behind an application load balancer, limits count the client that it names."
  }
}

run "on_ecs_the_inventory_says_where_model_service_is" {
  command = plan

  variables {
    model_bucket   = { name = "example-models" }
    image_registry = {}
    host_groups = {
      gateway = { groups = ["gateway"], instance_type = "t3.medium" }
      data    = { groups = ["cache_servers", "storage_servers", "monitoring_servers"], instance_type = "t3.medium" }
    }
    model_service_on_ecs = {
      image = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm/model-service:0.1.0"
      model = { name = "qwen3-8b", key = "qwen3-8b.gguf", sha256 = "0000000000000000000000000000000000000000000000000000000000000000" }
    }
  }

  assert {
    condition = jsonencode(output.ansible_inventory.vars) == jsonencode({
      ansible_user             = "admin"
      llm_aws_region           = "eu-central-1"
      llm_ecs_cluster          = "llm"
      llm_ecs_service          = "model-service"
      llm_ecs_target_group_arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-model/1"
      llm_ecs_url              = "http://internal-llm-model.example.org"
      llm_ecs_host_name        = "model-service.llm.internal"
      llm_engine               = "swarm"
      llm_image_registry       = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm"
      llm_model_bucket         = "example-models"
    })
    error_message = "The inventory names cluster, service, target group and address, the registry and the bucket."
  }

  assert {
    condition     = !contains(keys(output.ansible_inventory.groups), "model_servers")
    error_message = "A group without hosts is none."
  }

  assert {
    condition     = output.ansible_inventory.groups["cache_servers"].vars == { cache_service_published_address = "0.0.0.0" }
    error_message = "Tasks reach cache-service on its host."
  }

  assert {
    condition     = module.ecs_model_service[0].cluster_name == output.ecs_model_service.cluster && output.ecs_model_service.log_group == "/llm/model-service"
    error_message = "The outputs say the same to people."
  }
}
