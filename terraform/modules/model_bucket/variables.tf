variable "name" {
  description = "The bucket's name, which nobody else in the world may have."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$", var.name))
    error_message = "name has to be 3 to 63 lower-case letters, digits and hyphens; dots break HTTPS."
  }
}

variable "noncurrent_days" {
  description = "How long a replaced or deleted file can still be got back, in days."
  type        = number
  default     = 30

  validation {
    condition     = var.noncurrent_days >= 1 && var.noncurrent_days <= 3650 && floor(var.noncurrent_days) == var.noncurrent_days
    error_message = "noncurrent_days has to be 1 to 3650."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the files; its readers then need kms:Decrypt, which the policies below hold. null: S3's own key."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn has to be the ARN of a KMS key, such as arn:aws:kms:eu-central-1:111122223333:key/<id>; an alias is none."
  }
}

variable "force_destroy" {
  description = "Whether a destroy also removes a bucket with files in it."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
