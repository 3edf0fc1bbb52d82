variable "name" {
  description = "The platform's name, which the names of all resources begin with."
  type        = string
  default     = "llm"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for key in keys(var.tags) : key != "Name" && !startswith(lower(key), "aws:")])
    error_message = "tags must not set Name, which each resource has of its own, nor begin with aws:, which is AWS' own."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts volumes, images, models and logs. null: AWS' own keys."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn has to be the ARN of a KMS key, such as arn:aws:kms:eu-central-1:111122223333:key/<id>; an alias is none."
  }
}

variable "deletion_protection" {
  description = "Whether load balancers have to be unprotected first to be destroyed, and buckets and repositories be emptied."
  type        = bool
  default     = true
}

variable "log_retention_days" {
  description = "How long logs are kept, in days: of connections in the VPC, and of tasks."
  type        = number
  default     = 365

  validation {
    condition     = contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], var.log_retention_days)
    error_message = "log_retention_days has to be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653."
  }
}
