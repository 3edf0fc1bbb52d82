mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/llm/flow-log" }
  }

  mock_resource "aws_iam_role" {
    defaults = { id = "llm-flow-log", arn = "arn:aws:iam::111122223333:role/llm-flow-log" }
  }

  override_resource {
    target = aws_subnet.public["eu-central-1a"]
    values = { id = "subnet-public-a" }
  }

  override_resource {
    target = aws_subnet.private["eu-central-1a"]
    values = { id = "subnet-private-a" }
  }

  override_resource {
    target = aws_route_table.private["eu-central-1a"]
    values = { id = "rtb-private-a" }
  }

  override_resource {
    target = aws_nat_gateway.this["eu-central-1a"]
    values = { id = "nat-a" }
  }

  override_resource {
    target = aws_eip.nat["eu-central-1a"]
    values = { id = "eipalloc-a" }
  }

  override_resource {
    target = aws_subnet.public["eu-central-1b"]
    values = { id = "subnet-public-b" }
  }

  override_resource {
    target = aws_subnet.private["eu-central-1b"]
    values = { id = "subnet-private-b" }
  }

  override_resource {
    target = aws_route_table.private["eu-central-1b"]
    values = { id = "rtb-private-b" }
  }

  override_resource {
    target = aws_nat_gateway.this["eu-central-1b"]
    values = { id = "nat-b" }
  }

  override_resource {
    target = aws_eip.nat["eu-central-1b"]
    values = { id = "eipalloc-b" }
  }

  override_resource {
    target = aws_vpc.this
    values = { id = "vpc-1" }
  }

  override_resource {
    target = aws_internet_gateway.this
    values = { id = "igw-1" }
  }

  override_resource {
    target = aws_route_table.public
    values = { id = "rtb-public" }
  }

  override_resource {
    target = aws_security_group.endpoints
    values = { id = "sg-endpoints" }
  }
}

variables {
  name               = "llm"
  availability_zones = ["eu-central-1a", "eu-central-1b"]
}

run "each_zone_has_a_public_and_a_private_subnet" {
  command = plan

  assert {
    condition     = { for zone, subnet in aws_subnet.public : zone => subnet.cidr_block } == { "eu-central-1a" = "10.0.0.0/20", "eu-central-1b" = "10.0.16.0/20" }
    error_message = "Public subnets take the first half of the VPC, a sixteenth each."
  }

  assert {
    condition     = { for zone, subnet in aws_subnet.private : zone => subnet.cidr_block } == { "eu-central-1a" = "10.0.128.0/20", "eu-central-1b" = "10.0.144.0/20" }
    error_message = "Private subnets take the second half of the VPC, a sixteenth each."
  }

  assert {
    condition     = alltrue([for zone, subnet in merge(aws_subnet.public, aws_subnet.private) : subnet.availability_zone == zone])
    error_message = "A subnet lies in the zone that it is for."
  }
}

run "a_zone_more_moves_no_subnet" {
  command = plan

  variables {
    availability_zones = ["eu-central-1a", "eu-central-1b", "eu-central-1c"]
  }

  assert {
    condition     = aws_subnet.private["eu-central-1b"].cidr_block == "10.0.144.0/20" && aws_subnet.private["eu-central-1c"].cidr_block == "10.0.160.0/20"
    error_message = "A zone at the end leaves the others' subnets where they are."
  }
}

run "no_subnet_gives_out_public_addresses" {
  command = plan

  assert {
    condition     = alltrue([for subnet in concat(values(aws_subnet.public), values(aws_subnet.private)) : !subnet.map_public_ip_on_launch])
    error_message = "What is launched gets no public address unless it is asked for."
  }
}

run "private_subnets_have_no_way_in" {
  command = plan

  assert {
    condition     = aws_route.internet.route_table_id == aws_route_table.public.id && aws_route.internet.gateway_id == aws_internet_gateway.this.id
    error_message = "Only the public route table leads to the internet gateway."
  }

  assert {
    condition     = alltrue([for zone, association in aws_route_table_association.private : association.route_table_id == aws_route_table.private[zone].id])
    error_message = "A private subnet uses its zone's private route table."
  }

  assert {
    condition     = alltrue([for route in aws_route.nat : route.nat_gateway_id != null && route.gateway_id == null])
    error_message = "A private subnet reaches the internet through NAT alone."
  }
}

run "the_default_security_group_is_taken_over" {
  command = plan

  assert {
    condition     = aws_default_security_group.this.vpc_id == aws_vpc.this.id
    error_message = "The VPC's default security group is managed here, without a rule."
  }
}

run "a_single_nat_gateway_serves_all_zones" {
  command = plan

  assert {
    condition     = keys(aws_nat_gateway.this) == ["eu-central-1a"] && length(aws_eip.nat) == 1
    error_message = "nat = single makes one NAT gateway."
  }

  assert {
    condition     = keys(aws_route.nat) == ["eu-central-1a", "eu-central-1b"] && alltrue([for route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this["eu-central-1a"].id])
    error_message = "Each zone's way out is the one NAT gateway."
  }

  assert {
    condition     = aws_nat_gateway.this["eu-central-1a"].subnet_id == aws_subnet.public["eu-central-1a"].id
    error_message = "The NAT gateway lies in a public subnet."
  }
}

run "each_zone_has_a_nat_gateway_where_wanted" {
  command = plan

  variables {
    nat = "per_zone"
  }

  assert {
    condition     = alltrue([for zone, route in aws_route.nat : route.nat_gateway_id == aws_nat_gateway.this[zone].id]) && length(aws_nat_gateway.this) == 2
    error_message = "nat = per_zone keeps a zone's traffic in the zone."
  }
}

run "no_nat_gateway_means_no_way_out" {
  command = plan

  variables {
    nat = "none"
  }

  assert {
    condition     = length(aws_nat_gateway.this) + length(aws_eip.nat) + length(aws_route.nat) == 0
    error_message = "nat = none costs nothing and leads nowhere."
  }
}

run "s3_is_reached_without_nat" {
  command = plan

  assert {
    condition     = aws_vpc_endpoint.s3.service_name == "com.amazonaws.eu-central-1.s3" && aws_vpc_endpoint.s3.vpc_endpoint_type == "Gateway"
    error_message = "S3 has a gateway endpoint."
  }

  assert {
    condition     = length(aws_vpc_endpoint.s3.route_table_ids) == length(distinct(concat([aws_route_table.public.id], [for table in aws_route_table.private : table.id])))
    error_message = "Every subnet uses the endpoint."
  }

  assert {
    condition     = length(aws_vpc_endpoint.interface) == 0 && length(aws_security_group.endpoints) == 0
    error_message = "Endpoints that cost are not made unasked."
  }
}

run "interface_endpoints_answer_the_vpc_alone" {
  command = plan

  variables {
    interface_endpoints = ["ecr.api", "logs"]
  }

  assert {
    condition     = toset([for endpoint in aws_vpc_endpoint.interface : endpoint.service_name]) == toset(["com.amazonaws.eu-central-1.ecr.api", "com.amazonaws.eu-central-1.logs"])
    error_message = "Each service gets its endpoint."
  }

  assert {
    condition     = alltrue([for endpoint in aws_vpc_endpoint.interface : endpoint.private_dns_enabled && endpoint.vpc_endpoint_type == "Interface"])
    error_message = "The services' usual names lead to the endpoints."
  }

  assert {
    condition     = aws_vpc_security_group_ingress_rule.endpoints[0].cidr_ipv4 == "10.0.0.0/16" && aws_vpc_security_group_ingress_rule.endpoints[0].from_port == 443 && aws_vpc_security_group_ingress_rule.endpoints[0].to_port == 443
    error_message = "Endpoints take HTTPS from the VPC, and nothing else."
  }
}

run "connections_are_logged" {
  command = plan

  assert {
    condition     = aws_flow_log.this["this"].traffic_type == "ALL" && aws_flow_log.this["this"].log_destination == aws_cloudwatch_log_group.flow_log["this"].arn
    error_message = "The flow log holds accepted and refused connections."
  }

  assert {
    condition     = aws_cloudwatch_log_group.flow_log["this"].retention_in_days == 365
    error_message = "The flow log is kept for a year."
  }

  assert {
    condition     = jsondecode(aws_iam_role_policy.flow_log["this"].policy).Statement[0].Resource == ["arn:aws:logs:eu-central-1:111122223333:log-group:/llm/flow-log:*"]
    error_message = "The flow log's role writes to its own log group alone."
  }
}

run "no_flow_log_where_none_is_wanted" {
  command = plan

  variables {
    flow_log_retention_days = null
  }

  assert {
    condition     = length(aws_flow_log.this) + length(aws_cloudwatch_log_group.flow_log) + length(aws_iam_role.flow_log) == 0
    error_message = "Without a retention there is no log, and no role for it."
  }
}

run "everything_is_tagged" {
  command = plan

  variables {
    tags = { team = "ml" }
  }

  assert {
    condition     = aws_vpc.this.tags == tomap({ Name = "llm", team = "ml" }) && alltrue([for subnet in aws_subnet.private : subnet.tags.team == "ml"])
    error_message = "The tags are on what costs."
  }
}
