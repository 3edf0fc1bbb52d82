mock_provider "aws" {
  override_during = plan

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/net/llm/1", dns_name = "llm.example.org" }
  }

  override_resource {
    target = aws_lb_target_group.this["http"]
    values = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-http/1" }
  }

  override_resource {
    target = aws_lb_target_group.this["https"]
    values = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-https/2" }
  }
}

variables {
  name              = "llm"
  vpc_id            = "vpc-1"
  subnet_ids        = ["subnet-public-a", "subnet-public-b"]
  security_group_id = "sg-load-balancer"
  gateways          = { gateway-1 = "i-1", gateway-2 = "i-2" }
}

run "a_network_load_balancer_passes_both_ports_through" {
  command = plan

  assert {
    condition     = aws_lb.this.load_balancer_type == "network" && aws_lb.this.security_groups == toset(["sg-load-balancer"])
    error_message = "It is a network load balancer in its security group."
  }

  assert {
    condition     = { for name, listener in aws_lb_listener.tcp : name => "${listener.protocol}:${listener.port}" } == { http = "TCP:80", https = "TCP:443" }
    error_message = "It listens on the web's ports, for TCP."
  }

  assert {
    condition     = { for name, group in aws_lb_target_group.this : name => "${group.protocol}:${group.port}" } == { http = "TCP:8080", https = "TCP:8443" }
    error_message = "It passes to the gateways' ports."
  }

  assert {
    condition     = alltrue([for name, listener in aws_lb_listener.tcp : listener.default_action[0].target_group_arn == aws_lb_target_group.this[name].arn])
    error_message = "Port 80 leads to the gateways' port for HTTP, 443 to that for HTTPS."
  }
}

run "every_gateway_gets_requests" {
  command = plan

  assert {
    condition     = { for key, target in aws_lb_target_group_attachment.this : key => "${target.target_id}:${target.port}" } == { "gateway-1:http" = "i-1:8080", "gateway-1:https" = "i-1:8443", "gateway-2:http" = "i-2:8080", "gateway-2:https" = "i-2:8443" }
    error_message = "Each gateway is a target at both ports."
  }

  assert {
    condition     = aws_lb.this.enable_cross_zone_load_balancing
    error_message = "A zone without a gateway is served by the others."
  }
}

run "a_gateway_that_does_not_answer_gets_none" {
  command = plan

  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : group.health_check[0].protocol == "TCP" && group.health_check[0].interval == 10 && group.health_check[0].unhealthy_threshold == 2])
    error_message = "A gateway that is away is noticed within 20 seconds."
  }

  assert {
    condition     = alltrue([for group in aws_lb_target_group.this : group.deregistration_delay == "600"])
    error_message = "Requests under way may end before a gateway goes."
  }
}

run "it_is_not_destroyed_by_mistake" {
  command = plan

  assert {
    condition     = aws_lb.this.enable_deletion_protection && !aws_lb.this.internal
    error_message = "It is protected, and reached from outside."
  }
}

run "an_application_load_balancer_holds_the_certificate" {
  command = plan

  variables {
    type            = "application"
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0e0d0c"
  }

  assert {
    condition     = aws_lb_listener.https["https"].certificate_arn == var.certificate_arn && aws_lb_listener.https["https"].port == 443 && aws_lb_listener.https["https"].protocol == "HTTPS"
    error_message = "HTTPS ends at the load balancer."
  }

  assert {
    condition     = strcontains(aws_lb_listener.https["https"].ssl_policy, "TLS13-1-2")
    error_message = "TLS older than 1.2 is refused."
  }

  assert {
    condition     = aws_lb_listener.redirect["http"].default_action[0].type == "redirect" && aws_lb_listener.redirect["http"].default_action[0].redirect[0].protocol == "HTTPS"
    error_message = "HTTP is redirected to HTTPS."
  }

  assert {
    condition     = keys(aws_lb_target_group.this) == ["http"] && aws_lb_target_group.this["http"].protocol == "HTTP" && aws_lb_target_group.this["http"].health_check[0].matcher == "200-499"
    error_message = "It speaks HTTP with the gateways, and asks for more than an open port."
  }

  assert {
    condition     = aws_lb.this.idle_timeout == 600 && aws_lb.this.drop_invalid_header_fields
    error_message = "Answers that take long are not cut, and headers that no server reads alike are dropped."
  }

  assert {
    condition     = length(aws_lb_listener.tcp) == 0
    error_message = "Nothing passes by the certificate."
  }
}

run "access_logs_go_where_they_are_wanted" {
  command = plan

  variables {
    access_logs_bucket = "example-logs"
  }

  assert {
    condition     = aws_lb.this.access_logs[0].bucket == "example-logs" && aws_lb.this.access_logs[0].enabled
    error_message = "The load balancer writes its log to the bucket."
  }
}
