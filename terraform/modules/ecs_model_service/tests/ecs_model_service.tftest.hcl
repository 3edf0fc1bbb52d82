mock_provider "aws" {
  override_during = plan

  mock_data "aws_region" {
    defaults = { name = "eu-central-1" }
  }

  mock_data "aws_partition" {
    defaults = { partition = "aws" }
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

  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-central-1:111122223333:log-group:/llm/model-service" }
  }

  mock_resource "aws_lb" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:loadbalancer/app/llm-model/1", dns_name = "internal-llm-model.example.org" }
  }

  mock_resource "aws_lb_target_group" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:targetgroup/llm-model/1" }
  }

  mock_resource "aws_lb_listener" {
    defaults = { arn = "arn:aws:elasticloadbalancing:eu-central-1:111122223333:listener/app/llm-model/1/2" }
  }

  mock_resource "aws_service_discovery_private_dns_namespace" {
    defaults = { id = "ns-1" }
  }

  mock_resource "aws_service_discovery_service" {
    defaults = { arn = "arn:aws:servicediscovery:eu-central-1:111122223333:service/srv-1" }
  }

  override_resource {
    target = aws_iam_role.execution
    values = { id = "llm-model-execution", arn = "arn:aws:iam::111122223333:role/llm-model-execution" }
  }

  override_resource {
    target = aws_iam_role.task
    values = { id = "llm-model-task", arn = "arn:aws:iam::111122223333:role/llm-model-task" }
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

run "spot_never_runs_alone" {
  command = plan

  assert {
    condition     = { for strategy in aws_ecs_service.this.capacity_provider_strategy : strategy.capacity_provider => "${coalesce(strategy.base, 0)}+${strategy.weight}" } == { FARGATE = "1+0", FARGATE_SPOT = "0+1" }
    error_message = "One task runs on Fargate itself, all others on Spot."
  }

  assert {
    condition     = aws_ecs_cluster_capacity_providers.this.capacity_providers == toset(["FARGATE", "FARGATE_SPOT"])
    error_message = "The cluster has both."
  }
}

run "more_can_run_on_fargate_itself" {
  command = plan

  variables {
    on_demand_base   = 2
    on_demand_weight = 1
    spot_weight      = 3
  }

  assert {
    condition     = { for strategy in aws_ecs_service.this.capacity_provider_strategy : strategy.capacity_provider => "${coalesce(strategy.base, 0)}+${strategy.weight}" } == { FARGATE = "2+1", FARGATE_SPOT = "0+3" }
    error_message = "Beyond two tasks, every fourth runs on Fargate itself."
  }
}

run "a_bad_release_is_rolled_back" {
  command = plan

  assert {
    condition     = aws_ecs_service.this.deployment_circuit_breaker[0].enable && aws_ecs_service.this.deployment_circuit_breaker[0].rollback
    error_message = "The circuit breaker returns to the release before."
  }

  assert {
    condition     = aws_ecs_service.this.deployment_minimum_healthy_percent == 100 && aws_ecs_service.this.deployment_maximum_percent == 200
    error_message = "New tasks start before old ones stop."
  }

  assert {
    condition     = aws_ecs_service.this.wait_for_steady_state
    error_message = "An apply waits for the deployment's end."
  }
}

run "the_load_balancer_asks_whether_a_task_is_ready" {
  command = plan

  assert {
    condition     = aws_lb_target_group.this.health_check[0].path == "/health/ready" && aws_lb_target_group.this.health_check[0].matcher == "200"
    error_message = "A task gets requests once its model is loaded."
  }

  assert {
    condition     = aws_lb_target_group.this.health_check[0].interval * aws_lb_target_group.this.health_check[0].unhealthy_threshold <= 10
    error_message = "A task that isn't ready any more is noticed within 10 seconds."
  }

  assert {
    condition     = aws_lb_target_group.this.port == 5000 && aws_lb_target_group.this.target_type == "ip"
    error_message = "Tasks are reached at model-service's port, by their own addresses."
  }

  assert {
    condition     = aws_ecs_service.this.health_check_grace_period_seconds == 600
    error_message = "Fetching and loading a model isn't failing."
  }

  assert {
    condition     = tolist(aws_ecs_service.this.load_balancer)[0].container_name == "model-service" && tolist(aws_ecs_service.this.load_balancer)[0].container_port == 5000
    error_message = "Requests go to model-service's container."
  }
}

run "the_load_balancer_is_inside_and_patient" {
  command = plan

  assert {
    condition     = aws_lb.this.internal && aws_lb.this.security_groups == toset(["sg-model-load-balancer"])
    error_message = "It is reached from inside alone."
  }

  assert {
    condition     = aws_lb.this.idle_timeout == 600
    error_message = "It doesn't cut answers that take long to begin."
  }

  assert {
    condition     = aws_lb_target_group.this.load_balancing_algorithm_type == "least_outstanding_requests"
    error_message = "The task with the fewest requests gets the next."
  }

  assert {
    condition     = aws_lb.this.enable_deletion_protection && aws_lb.this.drop_invalid_header_fields
    error_message = "It is protected from being destroyed by mistake, and drops headers that no server reads alike."
  }

  assert {
    condition     = aws_lb_listener.this.port == 80 && aws_lb_listener.this.protocol == "HTTP" && output.url == "http://internal-llm-model.example.org"
    error_message = "Without a certificate it speaks HTTP."
  }
}

run "the_load_balancer_speaks_https_with_a_certificate" {
  command = plan

  variables {
    certificate_arn = "arn:aws:acm:eu-central-1:111122223333:certificate/0f0e0d0c"
  }

  assert {
    condition     = aws_lb_listener.this.port == 443 && aws_lb_listener.this.protocol == "HTTPS" && strcontains(aws_lb_listener.this.ssl_policy, "TLS13-1-2")
    error_message = "With a certificate it speaks TLS 1.2 or 1.3."
  }

  assert {
    condition     = output.url == "https://internal-llm-model.example.org"
    error_message = "The address says so."
  }
}

run "streams_end_before_a_task_is_killed" {
  command = plan

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].stopTimeout == 120
    error_message = "A task has the two minutes that Fargate gives at most."
  }

  assert {
    condition = { for setting in jsondecode(aws_ecs_task_definition.this.container_definitions)[1].environment : setting.name => setting.value
    if startswith(setting.name, "MODEL_DRAIN") } == { MODEL_DRAIN_GRACE_SECONDS = "5", MODEL_DRAIN_TIMEOUT_SECONDS = "110" }
    error_message = "Grace and drain end 5 seconds before that."
  }

  assert {
    condition     = aws_lb_target_group.this.deregistration_delay == "110"
    error_message = "The load balancer lets go of a task before Spot takes it."
  }
}

run "the_container_is_checked_by_ecs_too" {
  command = plan

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].healthCheck.command == ["CMD", "/opt/venv/bin/python", "-m", "service_kit.healthcheck", "http://127.0.0.1:5000/health/ready"]
    error_message = "ECS asks as Docker does on hosts."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].healthCheck.startPeriod == 300
    error_message = "Loading the model isn't failing."
  }
}

run "containers_may_do_little" {
  command = plan

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].readonlyRootFilesystem && jsondecode(aws_ecs_task_definition.this.container_definitions)[1].user == "10001:10001"
    error_message = "model-service isn't root, and writes nowhere."
  }

  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.this.container_definitions) : container.linuxParameters.capabilities.drop == ["ALL"]])
    error_message = "No container has a capability."
  }

  assert {
    condition     = !tolist(aws_ecs_service.this.network_configuration)[0].assign_public_ip && tolist(aws_ecs_service.this.network_configuration)[0].security_groups == toset(["sg-model-tasks"])
    error_message = "Tasks have no public address, and the security group of tasks."
  }

  assert {
    condition     = aws_ecs_task_definition.this.network_mode == "awsvpc" && aws_ecs_task_definition.this.runtime_platform[0].cpu_architecture == "X86_64"
    error_message = "Each task has an interface of its own, on the processors that Spot has."
  }
}

run "a_task_starts_with_the_model_that_was_named" {
  command = plan

  assert {
    condition = { for setting in jsondecode(aws_ecs_task_definition.this.container_definitions)[0].environment : setting.name => setting.value } == {
      SOURCE = "s3://example-models/qwen3-8b.gguf"
      TARGET = "/models/${var.model.sha256}/qwen3-8b.gguf"
      SHA256 = var.model.sha256
    }
    error_message = "The file is fetched from the bucket."
  }

  assert {
    condition     = strcontains(jsondecode(aws_ecs_task_definition.this.container_definitions)[0].command[0], "sha256sum --check")
    error_message = "Its digest is checked."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dependsOn == [{ condition = "SUCCESS", containerName = "fetch-model" }]
    error_message = "model-service starts once the file is whole."
  }

  assert {
    condition     = contains([for setting in jsondecode(aws_ecs_task_definition.this.container_definitions)[1].environment : "${setting.name}=${setting.value}"], "MODEL_PATH=/models/${var.model.sha256}/qwen3-8b.gguf")
    error_message = "model-service serves that file."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].mountPoints[0].readOnly
    error_message = "model-service can't change it."
  }
}

run "api_keys_are_a_secret" {
  command = plan

  variables {
    api_keys_parameter_arn = "arn:aws:ssm:eu-central-1:111122223333:parameter/llm/api-keys"
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].secrets == [{ name = "MODEL_API_KEYS", valueFrom = var.api_keys_parameter_arn }]
    error_message = "ECS hands the keys over; they are in no environment that can be described."
  }

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.execution.policy).Statement : statement.Resource if statement.Action == ["ssm:GetParameters"]] == [[var.api_keys_parameter_arn]]
    error_message = "The execution role reads this parameter alone."
  }
}

run "roles_may_do_what_they_have_to" {
  command = plan

  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.task.policy).Statement : statement.Resource if statement.Action == ["s3:GetObject"]] == [["arn:aws:s3:::example-models/qwen3-8b.gguf"]]
    error_message = "Tasks read one file."
  }

  assert {
    condition = alltrue([for statement in concat(jsondecode(aws_iam_role_policy.task.policy).Statement, jsondecode(aws_iam_role_policy.execution.policy).Statement) :
    statement.Resource != ["*"] || statement.Action == ["ecr:GetAuthorizationToken"]])
    error_message = "Nothing is allowed on everything, save what has no resource."
  }

  assert {
    condition     = alltrue([for statement in concat(jsondecode(aws_iam_role_policy.task.policy).Statement, jsondecode(aws_iam_role_policy.execution.policy).Statement) : alltrue([for action in statement.Action : !strcontains(action, "*")])])
    error_message = "Actions are named one by one."
  }

  assert {
    condition     = jsondecode(aws_iam_role.task.assume_role_policy).Statement[0].Principal == { Service = "ecs-tasks.amazonaws.com" }
    error_message = "Tasks alone take the role."
  }

  assert {
    condition     = [for statement in jsondecode(output.discovery_policy).Statement : statement.Condition.ArnEquals["ecs:cluster"] if contains(statement.Action, "ecs:ListTasks")] == ["arn:aws:ecs:eu-central-1:111122223333:cluster/llm"]
    error_message = "Traefik finds tasks of this cluster alone."
  }
}

run "traefik_finds_the_routes_on_the_tasks" {
  command = plan

  assert {
    condition = { for label, value in jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dockerLabels : label => value if strcontains(label, "-v1.") } == {
      "traefik.http.routers.model-service-v1.entrypoints" = "web"
      "traefik.http.routers.model-service-v1.middlewares" = "api-limits@file"
      "traefik.http.routers.model-service-v1.rule"        = "PathPrefix(`/v1`)"
      "traefik.http.routers.model-service-v1.service"     = "model-service"
    }
    error_message = "/v1 leads to model-service, through the limits."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dockerLabels["traefik.http.routers.model-service-api.middlewares"] == "api-limits@file,model-service-strip"
    error_message = "Its own API's prefix is stripped."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].portMappings == [{ containerPort = 5000, hostPort = 5000, protocol = "tcp" }]
    error_message = "Traefik goes to the port that the task has to the outside."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dockerLabels["llm.orchestrator.service"] == "model-service"
    error_message = "The label is there without which Traefik routes to no container."
  }

  assert {
    condition     = jsondecode(aws_ecs_task_definition.this.container_definitions)[1].dockerLabels["traefik.http.services.model-service.loadbalancer.healthcheck.path"] == "/health/ready"
    error_message = "Traefik leaves a task out that isn't ready."
  }
}

run "the_number_of_tasks_follows_cpu_and_queue" {
  command = plan

  assert {
    condition     = aws_appautoscaling_target.this.resource_id == "service/llm/model-service" && aws_appautoscaling_target.this.min_capacity == 2 && aws_appautoscaling_target.this.max_capacity == 10
    error_message = "There are 2 to 10 tasks."
  }

  assert {
    condition     = aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration[0].predefined_metric_specification[0].predefined_metric_type == "ECSServiceAverageCPUUtilization" && aws_appautoscaling_policy.cpu.target_tracking_scaling_policy_configuration[0].target_value == 70
    error_message = "CPU is held at 70 %."
  }

  assert {
    condition     = { for metric in aws_appautoscaling_policy.queue.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics : metric.id => metric.metric_stat[0].metric[0].metric_name if !metric.return_data } == { slots = "llm_slots", waiting = "llm_requests_waiting" }
    error_message = "The queue is waiting requests for each slot."
  }

  assert {
    condition     = [for metric in aws_appautoscaling_policy.queue.target_tracking_scaling_policy_configuration[0].customized_metric_specification[0].metrics : metric.expression if metric.return_data] == ["waiting / slots"]
    error_message = "Their ratio is what is tracked."
  }

  assert {
    condition     = aws_appautoscaling_policy.queue.target_tracking_scaling_policy_configuration[0].scale_out_cooldown < aws_appautoscaling_policy.queue.target_tracking_scaling_policy_configuration[0].scale_in_cooldown
    error_message = "Tasks come sooner than they go."
  }
}

run "the_agent_reports_what_is_tracked" {
  command = plan

  assert {
    condition = toset(jsondecode([for setting in jsondecode(aws_ecs_task_definition.this.container_definitions)[2].environment : setting.value
    if setting.name == "CW_CONFIG_CONTENT"][0]).logs.metrics_collected.prometheus.emf_processor.metric_declaration[0].metric_selectors) == toset(["^llm_requests_waiting$", "^llm_slots$"])
    error_message = "The agent reports both metrics."
  }

  assert {
    condition = yamldecode([for setting in jsondecode(aws_ecs_task_definition.this.container_definitions)[2].environment : setting.value
    if setting.name == "PROMETHEUS_CONFIG_CONTENT"][0]).scrape_configs[0].static_configs[0].targets == ["127.0.0.1:5000"]
    error_message = "It reads them from its own task."
  }

  assert {
    condition     = !jsondecode(aws_ecs_task_definition.this.container_definitions)[2].essential
    error_message = "Without it the service goes on."
  }
}

run "logs_are_kept" {
  command = plan

  assert {
    condition     = aws_cloudwatch_log_group.this.retention_in_days == 365
    error_message = "Logs are kept for a year."
  }

  assert {
    condition     = alltrue([for container in jsondecode(aws_ecs_task_definition.this.container_definitions) : container.logConfiguration.options["awslogs-group"] == "/llm/model-service"])
    error_message = "Every container logs there."
  }

  assert {
    condition     = one(aws_ecs_cluster.this.setting).value == "enabled"
    error_message = "The cluster's own metrics are on."
  }
}

run "monitoring_finds_each_task_by_a_name" {
  command = plan

  assert {
    condition     = tolist(aws_ecs_service.this.service_registries)[0].registry_arn == "arn:aws:servicediscovery:eu-central-1:111122223333:service/srv-1"
    error_message = "ECS registers the tasks."
  }

  assert {
    condition     = aws_service_discovery_private_dns_namespace.this.vpc == "vpc-1" && output.host_name == "model-service.llm.internal"
    error_message = "The name is known in the VPC, and nowhere else."
  }

  assert {
    condition     = aws_service_discovery_service.this.dns_config[0].routing_policy == "MULTIVALUE" && aws_service_discovery_service.this.dns_config[0].dns_records[0].type == "A"
    error_message = "The name stands for all tasks, not for one at random."
  }

  assert {
    condition     = aws_service_discovery_service.this.dns_config[0].dns_records[0].ttl <= 10
    error_message = "A task that has gone is forgotten within 10 seconds."
  }

  assert {
    condition     = aws_service_discovery_service.this.health_check_custom_config[0].failure_threshold == 1
    error_message = "ECS tells which tasks are well."
  }
}
