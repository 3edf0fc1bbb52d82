variable "image_registry" {
  description = "Repositories in ECR for the platform's images: `kept_images` of each. null: none; images are built and copied by Ansible."
  type        = object({ kept_images = optional(number, 20) })
  default     = null
}

variable "model_bucket" {
  description = "An S3 bucket for models: its `name`, and for how many days replaced files are kept (`noncurrent_days`). null: none."
  type        = object({ name = string, noncurrent_days = optional(number, 30) })
  default     = null
}

variable "model_service_on_ecs" {
  description = <<-EOT
    model-service on ECS, on Fargate and Fargate Spot, instead of model_servers: its `image`, the `model` (name, key in
    model_bucket, sha256), and what else the module ecs_model_service knows; see its README. null: on hosts.
  EOT
  type = object({
    image                        = string
    model                        = object({ name = string, key = string, sha256 = string })
    cpu                          = optional(number, 4096)
    memory_mib                   = optional(number, 8192)
    ephemeral_storage_gib        = optional(number, 30)
    environment                  = optional(map(string), {})
    api_keys_parameter_arn       = optional(string)
    certificate_arn              = optional(string)
    min_tasks                    = optional(number, 2)
    max_tasks                    = optional(number, 10)
    on_demand_base               = optional(number, 1)
    on_demand_weight             = optional(number, 0)
    spot_weight                  = optional(number, 1)
    cpu_target_percent           = optional(number, 70)
    queue_target                 = optional(number, 0.5)
    stop_timeout_seconds         = optional(number, 120)
    deregistration_delay_seconds = optional(number, 110)
    ready_timeout_seconds        = optional(number, 600)
    wait_for_steady_state        = optional(bool, true)
  })
  default = null

  validation {
    condition     = var.model_service_on_ecs == null || var.model_bucket != null
    error_message = "model_service_on_ecs needs model_bucket: its tasks fetch the model from there."
  }

  validation {
    condition     = var.model_service_on_ecs == null || length(var.availability_zones) >= 2
    error_message = "model_service_on_ecs needs two availability_zones."
  }
}
