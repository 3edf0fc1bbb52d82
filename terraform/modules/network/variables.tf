variable "name" {
  description = "What the names of all resources begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "cidr" {
  description = "IPv4 range of the VPC, /16 to /20. Each subnet gets a sixteenth of it."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.cidr)) && try(cidrsubnet(var.cidr, 0, 0) == var.cidr, false)
    error_message = "cidr has to be an IPv4 range that begins at its first address, such as 10.0.0.0/16."
  }

  validation {
    condition     = try(tonumber(split("/", var.cidr)[1]) >= 16 && tonumber(split("/", var.cidr)[1]) <= 20, false)
    error_message = "cidr has to be between /16 (what a VPC may have) and /20 (so that subnets have 251 addresses)."
  }
}

variable "availability_zones" {
  description = "Availability zones that get a public and a private subnet each. Adding one at the end leaves the others alone."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 1 && length(var.availability_zones) <= 6
    error_message = "availability_zones has to name 1 to 6 zones, such as eu-central-1a."
  }

  validation {
    condition     = length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones names a zone twice."
  }
}

variable "nat" {
  description = "How private subnets reach the internet: none (they don't), single (one NAT gateway, which its zone takes along when it fails) or per_zone."
  type        = string
  default     = "single"

  validation {
    condition     = contains(["none", "single", "per_zone"], var.nat)
    error_message = "nat has to be none, single or per_zone."
  }
}

variable "interface_endpoints" {
  description = "AWS services that private subnets reach without the internet, by the end of their names, such as ecr.api, ecr.dkr, logs, ssm, ssmmessages. S3 always is one of them, at no cost."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for service in var.interface_endpoints : can(regex("^[a-z0-9-]+([.][a-z0-9-]+)*$", service))])
    error_message = "interface_endpoints has to hold the ends of service names, such as ecr.api; not com.amazonaws.<region> before them."
  }

  validation {
    condition     = !contains(var.interface_endpoints, "s3")
    error_message = "interface_endpoints must not name s3: it has a gateway endpoint, which costs nothing."
  }
}

variable "flow_log_retention_days" {
  description = "How long the log of accepted and refused connections is kept, in days. null: none is written."
  type        = number
  default     = 365

  validation {
    condition     = var.flow_log_retention_days == null || contains([1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653], coalesce(var.flow_log_retention_days, 1))
    error_message = "flow_log_retention_days has to be one that CloudWatch knows: 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653; or null."
  }
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the flow log. null: CloudWatch's own."
  type        = string
  default     = null

  validation {
    condition     = var.kms_key_arn == null || can(regex("^arn:[a-z-]+:kms:[a-z0-9-]+:[0-9]{12}:key/.+$", var.kms_key_arn))
    error_message = "kms_key_arn has to be the ARN of a KMS key, such as arn:aws:kms:eu-central-1:111122223333:key/<id>; an alias is none."
  }
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
