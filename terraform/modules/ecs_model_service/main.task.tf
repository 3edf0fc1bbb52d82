locals {
  model_file = "/models/${var.model.sha256}/${var.model.name}.gguf"

  # ECS sends SIGTERM, and SIGKILL stop_timeout_seconds later. In the grace the gateway sees that the task isn't ready;
  # 5 s more are left for the process to end.
  drain_grace   = 5
  drain_timeout = var.stop_timeout_seconds - local.drain_grace - 5

  environment = merge(
    {
      MODEL_PORT                  = tostring(local.port)
      MODEL_PATH                  = local.model_file
      MODEL_NAME                  = var.model.name
      MODEL_LOAD_TIMEOUT_SECONDS  = tostring(var.ready_timeout_seconds)
      MODEL_DRAIN_GRACE_SECONDS   = tostring(local.drain_grace)
      MODEL_DRAIN_TIMEOUT_SECONDS = tostring(local.drain_timeout)
    },
    var.cache_url == "" ? {} : { MODEL_CACHE_URL = var.cache_url },
    var.environment,
  )

  log_configuration = { for container in ["model-service", "fetch-model", "metrics"] : container => {
    logDriver = "awslogs"
    options = {
      awslogs-group         = aws_cloudwatch_log_group.this.name
      awslogs-region        = data.aws_region.current.name
      awslogs-stream-prefix = container
    }
  } }

  # The role traefik's routes, for Traefik's ECS provider.
  gateway_labels = merge(
    {
      "llm.orchestrator.service" = local.service
      "traefik.enable"           = "true"

      "traefik.http.services.${local.service}.loadbalancer.server.port"          = tostring(local.port)
      "traefik.http.services.${local.service}.loadbalancer.healthcheck.path"     = "/health/ready"
      "traefik.http.services.${local.service}.loadbalancer.healthcheck.interval" = "2s"

      "traefik.http.routers.${local.service}-v1.entrypoints"  = "web"
      "traefik.http.routers.${local.service}-v1.rule"         = "PathPrefix(`/v1`)"
      "traefik.http.routers.${local.service}-v1.service"      = local.service
      "traefik.http.routers.${local.service}-api.entrypoints" = "web"
      "traefik.http.routers.${local.service}-api.rule"        = "PathPrefix(`${var.path_prefix}`)"
      "traefik.http.routers.${local.service}-api.service"     = local.service
      "traefik.http.routers.${local.service}-api.middlewares" = join(",", concat(var.gateway_middlewares, ["${local.service}-strip"]))

      "traefik.http.middlewares.${local.service}-strip.stripprefix.prefixes" = var.path_prefix
    },
    # An empty value is an error to Traefik.
    length(var.gateway_middlewares) == 0 ? {} : {
      "traefik.http.routers.${local.service}-v1.middlewares" = join(",", var.gateway_middlewares)
    },
  )

  # Ends once the file is whole; model-service starts then. Fargate gives it 3 minutes, which can't be set higher.
  fetch_container = {
    name             = "fetch-model"
    image            = var.fetch_image
    essential        = false
    entryPoint       = ["/bin/sh", "-c"]
    command          = ["set -eu; aws s3 cp --no-progress \"$SOURCE\" \"$TARGET\"; echo \"$SHA256  $TARGET\" | sha256sum --check"]
    environment      = [for name, value in { SOURCE = "s3://${var.model.bucket}/${var.model.key}", TARGET = local.model_file, SHA256 = var.model.sha256 } : { name = name, value = value }]
    mountPoints      = [{ sourceVolume = "models", containerPath = "/models", readOnly = false }]
    linuxParameters  = { capabilities = { drop = ["ALL"] } }
    logConfiguration = local.log_configuration["fetch-model"]

    readonlyRootFilesystem = true
  }

  service_container = {
    name             = local.service
    image            = var.image
    essential        = true
    user             = "10001:10001"
    dependsOn        = [{ containerName = "fetch-model", condition = "SUCCESS" }]
    portMappings     = [{ containerPort = local.port, hostPort = local.port, protocol = "tcp" }]
    environment      = [for name, value in local.environment : { name = name, value = value }]
    secrets          = var.api_keys_parameter_arn == null ? [] : [{ name = "MODEL_API_KEYS", valueFrom = var.api_keys_parameter_arn }]
    dockerLabels     = local.gateway_labels
    mountPoints      = [{ sourceVolume = "models", containerPath = "/models", readOnly = true }]
    linuxParameters  = { capabilities = { drop = ["ALL"] }, initProcessEnabled = false }
    stopTimeout      = var.stop_timeout_seconds
    logConfiguration = local.log_configuration["model-service"]

    readonlyRootFilesystem = true

    healthCheck = {
      command     = ["CMD", "/opt/venv/bin/python", "-m", "service_kit.healthcheck", "http://127.0.0.1:${local.port}/health/ready"]
      interval    = 10
      timeout     = 60
      retries     = 3
      startPeriod = min(var.ready_timeout_seconds, 300)
    }
  }
}

resource "aws_ecs_task_definition" "this" {
  family                   = "${var.name}-${local.service}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = var.cpu
  memory                   = var.memory_mib
  execution_role_arn       = aws_iam_role.execution.arn
  task_role_arn            = aws_iam_role.task.arn

  container_definitions = jsonencode([local.fetch_container, local.service_container, local.metrics_container])

  ephemeral_storage {
    size_in_gib = var.ephemeral_storage_gib
  }

  # The image's llama.cpp is built for it, and Spot has nothing else.
  runtime_platform {
    operating_system_family = "LINUX"
    cpu_architecture        = "X86_64"
  }

  volume {
    name = "models"
  }

  tags = var.tags
}
