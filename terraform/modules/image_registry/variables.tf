variable "name" {
  description = "The part of the repositories' names before the slash."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "images" {
  description = "The images that get a repository each."
  type        = set(string)
  default = [
    "base", "model-service", "cache-service", "storage-service", "monitoring-service", "traefik", "socket-filter",
    "redis", "redis-exporter", "prometheus", "node-exporter",
  ]

  validation {
    condition     = length(var.images) >= 1 && alltrue([for image in var.images : can(regex("^[a-z0-9]+([._-][a-z0-9]+)*$", image))])
    error_message = "images has to hold names of images, at least one, such as model-service; no tags, and no registry before them."
  }
}

variable "kept_images" {
  description = "How many tagged images of each repository are kept; older ones are removed."
  type        = number
  default     = 20

  validation {
    condition     = var.kept_images >= 2 && var.kept_images <= 1000 && floor(var.kept_images) == var.kept_images
    error_message = "kept_images has to be 2 to 1000: a rollback needs the image before."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the images. null: ECR's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn has to be the ARN of a KMS key, such as arn:aws:kms:eu-central-1:111122223333:key/<id>; an alias is none."
  }
}

variable "force_delete" {
  description = "Whether a destroy also removes repositories with images in them."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
