# Who is there is read after the group was made: an apply, of a mocked provider.
mock_provider "aws" {
  mock_data "aws_ami" {
    defaults = { id = "ami-0123456789abcdef0", root_device_name = "/dev/xvda" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_data "aws_instances" {
    defaults = { ids = ["i-0aaa", "i-0bbb"], private_ips = ["10.0.128.21", "10.0.144.22"] }
  }

  mock_resource "aws_launch_template" {
    defaults = { id = "lt-0123456789abcdef0" }
  }
}

variables {
  name               = "llm"
  public_subnet_ids  = ["subnet-public-a"]
  private_subnet_ids = ["subnet-private-a"]
  availability_zones = ["eu-central-1a"]
  security_group_ids = { hosts = "sg-hosts", model_servers = "sg-model-servers" }
  host_groups        = { model = { groups = ["model_servers"], instance_type = "c7i.2xlarge", count = 2, autoscaling = true } }
}

run "hosts_that_aws_replaces_are_called_after_their_instances" {
  command = apply

  assert {
    condition     = keys(output.hosts) == ["model-i-0aaa", "model-i-0bbb"]
    error_message = "A number would move to another host when one is replaced."
  }

  assert {
    condition     = output.hosts["model-i-0bbb"].private_address == "10.0.144.22" && output.hosts["model-i-0bbb"].groups == tolist(["model_servers"])
    error_message = "Each has its address and its groups."
  }

  assert {
    condition     = output.autoscaling_group_names == { model = "llm-model" }
    error_message = "The autoscaling groups are named."
  }
}
