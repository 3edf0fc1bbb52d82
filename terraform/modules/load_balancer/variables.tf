variable "name" {
  description = "What the names of all resources begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "type" {
  description = "network: TCP passes through to the gateways, which hold the certificate. application: the load balancer holds it and speaks HTTP with the gateways."
  type        = string
  default     = "network"

  validation {
    condition     = contains(["network", "application"], var.type)
    error_message = "type has to be network or application."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "subnet_ids" {
  description = "Public subnets, an address in each; an application load balancer needs two."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) >= (var.type == "application" ? 2 : 1)
    error_message = "subnet_ids has to name at least one subnet, for an application load balancer two in different zones."
  }
}

variable "security_group_id" {
  description = "The load balancer's security group."
  type        = string
}

variable "gateways" {
  description = "The gateways' instance ids, by host."
  type        = map(string)
}

variable "gateway_ports" {
  description = "Ports that the gateways are published on: traefik_port and traefik_tls_port."
  type        = object({ http = optional(number, 8080), https = optional(number, 8443) })
  default     = {}

  validation {
    condition     = alltrue([for port in values(var.gateway_ports) : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "gateway_ports has to hold ports, 1 to 65535."
  }
}

variable "certificate_arn" {
  description = "ACM certificate of an application load balancer."
  type        = string
  default     = null

  validation {
    condition     = var.certificate_arn == null || can(regex("^arn:[a-z-]+:acm:[a-z0-9-]+:[0-9]{12}:certificate/.+$", var.certificate_arn))
    error_message = "certificate_arn has to be the ARN of an ACM certificate, such as arn:aws:acm:eu-central-1:111122223333:certificate/<id>."
  }

  validation {
    condition     = (var.type == "application") == (var.certificate_arn != null)
    error_message = "certificate_arn is needed by an application load balancer; behind a network load balancer the gateways hold the certificate."
  }
}

variable "idle_timeout_seconds" {
  description = "How long an application load balancer keeps a connection on which nothing is sent; model-service sends a comment into silent streams every 10 seconds, other requests may take long until their answer begins."
  type        = number
  default     = 600

  validation {
    condition     = var.idle_timeout_seconds >= 60 && var.idle_timeout_seconds <= 4000
    error_message = "idle_timeout_seconds has to be 60 to 4000; less cuts answers that take long."
  }
}

variable "deregistration_delay_seconds" {
  description = "How long requests on a gateway that is taken away may still take."
  type        = number
  default     = 600

  validation {
    condition     = var.deregistration_delay_seconds >= 0 && var.deregistration_delay_seconds <= 3600
    error_message = "deregistration_delay_seconds has to be 0 to 3600."
  }
}

variable "access_logs_bucket" {
  description = "Name of an S3 bucket of yours that access logs are written to. null: none are; the gateways log each request."
  type        = string
  default     = null

  validation {
    condition     = var.access_logs_bucket == null || can(regex("^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", var.access_logs_bucket))
    error_message = "access_logs_bucket has to be a bucket's name, not its ARN or address."
  }
}

variable "deletion_protection" {
  description = "Whether it has to be unprotected first to be destroyed."
  type        = bool
  default     = true
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
