# The CloudWatch agent reads /metrics of its own task and reports how many requests wait, and how many slots there are.
locals {
  metrics_namespace = "LLMOrchestrator"
  # Of the agent: it adds ClusterName; service is a label of ours.
  metrics_dimensions = { ClusterName = var.name, service = local.service }

  scrape_configuration = yamlencode({
    global = { scrape_interval = "15s", scrape_timeout = "10s" }
    scrape_configs = [{
      job_name       = local.service
      static_configs = [{ targets = ["127.0.0.1:${local.port}"], labels = { service = local.service } }]
    }]
  })

  agent_configuration = jsonencode({
    logs = {
      metrics_collected = {
        prometheus = {
          cluster_name           = var.name
          log_group_name         = aws_cloudwatch_log_group.this.name
          prometheus_config_path = "env:PROMETHEUS_CONFIG_CONTENT"
          emf_processor = {
            metric_namespace = local.metrics_namespace
            metric_declaration = [{
              source_labels    = ["service"]
              label_matcher    = "^${local.service}$"
              dimensions       = [keys(local.metrics_dimensions)]
              metric_selectors = ["^llm_requests_waiting$", "^llm_slots$"]
            }]
          }
        }
      }
    }
  })

  # Not essential: without it, tasks follow the use of CPU.
  metrics_container = {
    name             = "metrics"
    image            = var.metrics_image
    essential        = false
    environment      = [for name, value in { PROMETHEUS_CONFIG_CONTENT = local.scrape_configuration, CW_CONFIG_CONTENT = local.agent_configuration } : { name = name, value = value }]
    linuxParameters  = { capabilities = { drop = ["ALL"] } }
    logConfiguration = local.log_configuration["metrics"]
  }
}
