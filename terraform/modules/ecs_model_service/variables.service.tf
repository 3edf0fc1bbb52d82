variable "min_tasks" {
  description = "The fewest tasks."
  type        = number
  default     = 2

  validation {
    condition     = var.min_tasks >= 1 && floor(var.min_tasks) == var.min_tasks
    error_message = "min_tasks has to be at least 1: at 0 nothing measures that requests wait."
  }
}

variable "max_tasks" {
  description = "The most tasks."
  type        = number
  default     = 10

  validation {
    condition     = var.max_tasks >= var.min_tasks && var.max_tasks <= 1000
    error_message = "max_tasks has to be min_tasks to 1000."
  }
}

variable "on_demand_base" {
  description = "How many tasks run on Fargate itself, before any runs on Spot, which AWS may take back, all at once, with nothing in its place."
  type        = number
  default     = 1

  validation {
    condition     = var.on_demand_base >= 1 && var.on_demand_base <= var.max_tasks
    error_message = "on_demand_base has to be 1 to max_tasks: Fargate Spot alone may all go away."
  }
}

variable "spot_weight" {
  description = "Of the tasks beyond on_demand_base: the share that runs on Spot, beside on_demand_weight."
  type        = number
  default     = 1

  validation {
    condition     = var.spot_weight >= 0 && var.spot_weight <= 1000 && var.spot_weight + var.on_demand_weight > 0
    error_message = "spot_weight has to be 0 to 1000, and not 0 together with on_demand_weight."
  }
}

variable "on_demand_weight" {
  description = "Of the tasks beyond on_demand_base: the share that runs on Fargate itself."
  type        = number
  default     = 0

  validation {
    condition     = var.on_demand_weight >= 0 && var.on_demand_weight <= 1000
    error_message = "on_demand_weight has to be 0 to 1000."
  }
}

variable "stop_timeout_seconds" {
  description = "How long a task that is stopped may take: for streams under way, less 10 s for the drain to begin and the process to end. Fargate has at most 120."
  type        = number
  default     = 120

  validation {
    condition     = var.stop_timeout_seconds >= 30 && var.stop_timeout_seconds <= 120
    error_message = "stop_timeout_seconds has to be 30 to 120."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long requests on a task that the load balancer lets go may still take. Below the two minutes that Spot leaves."
  type        = number
  default     = 110

  validation {
    condition     = var.deregistration_delay_seconds >= 0 && var.deregistration_delay_seconds < 120
    error_message = "deregistration_delay_seconds has to be 0 to 119: Spot takes a task away after 120."
  }
}

variable "ready_timeout_seconds" {
  description = "How long a task may take until it has fetched and loaded its model."
  type        = number
  default     = 600

  validation {
    condition     = var.ready_timeout_seconds >= 60 && var.ready_timeout_seconds <= 3600
    error_message = "ready_timeout_seconds has to be 60 to 3600."
  }
}

variable "cpu_target_percent" {
  description = "Use of CPU that the number of tasks is held at."
  type        = number
  default     = 70

  validation {
    condition     = var.cpu_target_percent >= 10 && var.cpu_target_percent <= 95
    error_message = "cpu_target_percent has to be 10 to 95."
  }
}

variable "queue_target" {
  description = "Requests waiting for each slot that the number of tasks is held at: 0.5 is one waiting for two that are computed."
  type        = number
  default     = 0.5

  validation {
    condition     = var.queue_target > 0 && var.queue_target <= 10
    error_message = "queue_target has to be more than 0, and 10 at most."
  }
}

variable "wait_for_steady_state" {
  description = "Whether an apply waits until the new release runs, and fails if it was rolled back."
  type        = bool
  default     = true
}

variable "certificate_arn" {
  description = "ACM certificate of the internal load balancer. null: it speaks HTTP, inside the VPC."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn has to be the ARN of an ACM certificate, such as arn:aws:acm:eu-central-1:111122223333:certificate/<id>."
  }
}

variable "deletion_protection" {
  description = "Whether the load balancer has to be unprotected first to be destroyed."
  type        = bool
  default     = true
}
