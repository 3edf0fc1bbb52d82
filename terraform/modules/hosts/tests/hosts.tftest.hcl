mock_provider "aws" {
  override_during = plan

  mock_data "aws_ami" {
    defaults = { id = "ami-0123456789abcdef0", root_device_name = "/dev/xvda" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }

  mock_resource "aws_instance" {
    defaults = { id = "i-0123", private_ip = "10.0.128.9" }
  }

  mock_resource "aws_ebs_volume" {
    defaults = { id = "vol-0123" }
  }

  override_resource {
    target = aws_instance.this["gateway-1"]
    values = { id = "i-gateway", private_ip = "10.0.0.10" }
  }

  override_resource {
    target = aws_eip.this["gateway-1"]
    values = { public_ip = "198.51.100.10" }
  }

  override_resource {
    target = aws_ebs_volume.this["data-1:/var/lib/docker"]
    values = { id = "vol-0docker" }
  }
}

variables {
  name               = "llm"
  public_subnet_ids  = ["subnet-public-a", "subnet-public-b"]
  private_subnet_ids = ["subnet-private-a", "subnet-private-b"]
  availability_zones = ["eu-central-1a", "eu-central-1b"]
  ssh_public_key     = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ0c0mFz admin@example.org"
  security_group_ids = {
    hosts              = "sg-hosts"
    gateway            = "sg-gateway"
    model_servers      = "sg-model-servers"
    cache_servers      = "sg-cache-servers"
    storage_servers    = "sg-storage-servers"
    monitoring_servers = "sg-monitoring-servers"
  }
  host_groups = {
    gateway = { groups = ["gateway"], instance_type = "t3.medium" }
    model   = { groups = ["model_servers"], instance_type = "c7i.2xlarge", count = 3 }
    data = {
      groups        = ["cache_servers", "storage_servers", "monitoring_servers"]
      instance_type = "t3.medium"
      volumes       = { "/var/lib/docker" = 50, "/srv/models" = 100 }
    }
  }
}

run "each_group_has_as_many_hosts_as_wanted" {
  command = plan

  assert {
    condition     = keys(aws_instance.this) == ["data-1", "gateway-1", "model-1", "model-2", "model-3"]
    error_message = "Hosts are called after their group, and numbered from 1."
  }

  assert {
    condition     = aws_instance.this["model-1"].instance_type == "c7i.2xlarge" && aws_instance.this["data-1"].instance_type == "t3.medium"
    error_message = "A host has its group's type."
  }

  assert {
    condition     = [for number in range(1, 4) : aws_instance.this["model-${number}"].subnet_id] == ["subnet-private-a", "subnet-private-b", "subnet-private-a"]
    error_message = "The hosts of a group are spread over the zones."
  }
}

run "the_metadata_service_asks_for_a_token" {
  command = plan

  assert {
    condition     = alltrue([for host in aws_instance.this : host.metadata_options[0].http_tokens == "required"])
    error_message = "IMDSv2 is required, so a forged request can't get at a role."
  }

  assert {
    condition     = alltrue([for host in aws_instance.this : host.metadata_options[0].http_put_response_hop_limit == 1])
    error_message = "Tokens don't get as far as containers."
  }
}

run "a_containers_way_to_the_role_has_to_be_asked_for" {
  command = plan

  variables {
    host_groups = { gateway = { groups = ["gateway"], instance_type = "t3.medium", metadata_hop_limit = 2 } }
  }

  assert {
    condition     = aws_instance.this["gateway-1"].metadata_options[0].http_put_response_hop_limit == 2
    error_message = "With a hop limit of 2, containers get the host's role."
  }
}

run "every_volume_is_encrypted" {
  command = plan

  assert {
    condition     = alltrue([for host in aws_instance.this : host.root_block_device[0].encrypted])
    error_message = "Root volumes are encrypted."
  }

  assert {
    condition     = alltrue([for volume in aws_ebs_volume.this : volume.encrypted])
    error_message = "Further volumes are encrypted."
  }

  assert {
    condition     = alltrue([for volume in aws_ebs_volume.this : volume.type == "gp3"]) && alltrue([for host in aws_instance.this : host.root_block_device[0].volume_type == "gp3"])
    error_message = "Volumes are gp3: faster than gp2, and cheaper."
  }
}

run "a_key_of_ones_own_encrypts_all_volumes" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/0f0e0d0c-0000-4000-8000-000000000000"
  }

  assert {
    condition     = alltrue([for volume in aws_ebs_volume.this : volume.kms_key_id == var.kms_key_arn]) && alltrue([for host in aws_instance.this : host.root_block_device[0].kms_key_id == var.kms_key_arn])
    error_message = "The key is used for root volumes and further ones."
  }
}

run "only_gateways_have_public_addresses" {
  command = plan

  assert {
    condition     = keys(aws_eip.this) == ["gateway-1"]
    error_message = "Only gateways have Elastic IPs."
  }

  assert {
    condition     = aws_instance.this["gateway-1"].subnet_id == "subnet-public-a"
    error_message = "A gateway with a public address is in a public subnet."
  }

  assert {
    condition     = alltrue([for name, host in aws_instance.this : contains(var.private_subnet_ids, host.subnet_id) if name != "gateway-1"])
    error_message = "All other hosts are in private subnets."
  }

  assert {
    condition     = alltrue([for name, host in output.hosts : host.public_address == null if name != "gateway-1"]) && output.hosts["gateway-1"].public_address == "198.51.100.10"
    error_message = "The outputs name public addresses of gateways alone."
  }
}

run "gateways_can_do_without_public_addresses" {
  command = plan

  variables {
    gateway_public_addresses = false
  }

  assert {
    condition     = length(aws_eip.this) == 0 && aws_instance.this["gateway-1"].subnet_id == "subnet-private-a"
    error_message = "Without public addresses gateways are in private subnets, too."
  }
}

run "a_host_has_the_security_groups_of_what_it_is_for" {
  command = plan

  assert {
    condition     = aws_instance.this["model-2"].vpc_security_group_ids == toset(["sg-hosts", "sg-model-servers"])
    error_message = "A model host is in the group of all hosts and in its own."
  }

  assert {
    condition     = aws_instance.this["data-1"].vpc_security_group_ids == toset(["sg-hosts", "sg-cache-servers", "sg-storage-servers", "sg-monitoring-servers"])
    error_message = "A host of several services is in each one's group."
  }
}

run "volumes_are_mounted_where_they_are_wanted" {
  command = plan

  assert {
    condition     = { for key, volume in aws_ebs_volume.this : key => volume.size } == { "data-1:/var/lib/docker" = 50, "data-1:/srv/models" = 100 }
    error_message = "Each folder gets a volume of its size."
  }

  assert {
    condition     = alltrue([for volume in aws_ebs_volume.this : volume.availability_zone == "eu-central-1a"])
    error_message = "A volume is in its host's zone."
  }

  assert {
    condition     = strcontains(aws_instance.this["data-1"].user_data, "mount_volume 'vol-0docker' '/var/lib/docker'")
    error_message = "The host mounts the volume by its id."
  }

  assert {
    condition     = length(distinct([for attachment in aws_volume_attachment.this : attachment.device_name])) == 2
    error_message = "Volumes of a host are attached as different devices."
  }

  assert {
    condition     = !strcontains(aws_instance.this["model-1"].user_data, "mount_volume")
    error_message = "A host without volumes runs nothing at its start."
  }
}

run "the_image_is_debians" {
  command = plan

  assert {
    condition     = data.aws_ami.this.owners == tolist(["136693071363"]) && one(data.aws_ami.this.filter).values == toset(["debian-12-amd64-*"])
    error_message = "Only images that Debian's account published are taken."
  }
}

run "another_image_can_be_chosen" {
  command = plan

  variables {
    ami_id = "ami-0fedcba9876543210"
  }

  assert {
    condition     = one(data.aws_ami.this.filter).values == toset(["ami-0fedcba9876543210"])
    error_message = "The named image is looked up by its id."
  }
}

run "ssh_takes_the_given_key" {
  command = plan

  assert {
    condition     = aws_key_pair.this[0].public_key == var.ssh_public_key && aws_instance.this["model-1"].key_name == "llm"
    error_message = "Hosts are opened by the given key."
  }
}

run "without_a_key_there_is_no_ssh" {
  command = plan

  variables {
    ssh_public_key = null
  }

  assert {
    condition     = length(aws_key_pair.this) == 0 && length(aws_iam_role_policy_attachment.session_manager) == 3
    error_message = "Without a key, Systems Manager's sessions are the way in, to each group."
  }
}

run "a_role_has_what_its_groups_need_and_no_more" {
  command = plan

  variables {
    group_policies = {
      model_servers   = { read-models = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
      storage_servers = { write-models = "{\"Version\":\"2012-10-17\",\"Statement\":[]}" }
    }
  }

  assert {
    condition     = keys(aws_iam_role_policy.this) == ["data:write-models", "model:read-models"]
    error_message = "A host group's role gets the policies of its inventory groups."
  }

  assert {
    condition     = jsondecode(aws_iam_role.this["model"].assume_role_policy).Statement[0].Principal == { Service = "ec2.amazonaws.com" }
    error_message = "Instances alone take the role."
  }
}

run "an_autoscaling_group_replaces_failed_model_hosts" {
  command = plan

  variables {
    host_groups = { model = { groups = ["model_servers"], instance_type = "c7i.2xlarge", count = 2, root_volume_gib = 80, autoscaling = true } }
  }

  assert {
    condition     = aws_autoscaling_group.this["model"].desired_capacity == 2 && aws_autoscaling_group.this["model"].min_size == 2 && aws_autoscaling_group.this["model"].max_size == 2
    error_message = "The group keeps the wanted number of hosts."
  }

  assert {
    condition     = length(aws_instance.this) == 0 && toset(aws_autoscaling_group.this["model"].vpc_zone_identifier) == toset(["subnet-private-a", "subnet-private-b"])
    error_message = "Its hosts are in private subnets, and none is kept beside them."
  }

  assert {
    condition     = aws_launch_template.this["model"].metadata_options[0].http_tokens == "required" && aws_launch_template.this["model"].metadata_options[0].http_put_response_hop_limit == 1
    error_message = "IMDSv2 is required there, too."
  }

  assert {
    condition     = aws_launch_template.this["model"].block_device_mappings[0].ebs[0].encrypted == "true" && aws_launch_template.this["model"].block_device_mappings[0].ebs[0].volume_size == 80
    error_message = "Their root volumes are encrypted, and of the wanted size."
  }
}
