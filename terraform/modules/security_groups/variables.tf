variable "name" {
  description = "What the names of all resources begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "vpc_id" {
  description = "The VPC."
  type        = string
}

variable "client_cidrs" {
  description = "IPv4 ranges whose clients may use the platform. Empty: nobody outside the VPC's groups."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "client_cidrs has to hold IPv4 ranges, such as 203.0.113.0/24; a single address is 203.0.113.7/32."
  }
}

variable "admin_cidrs" {
  description = "IPv4 ranges from which SSH reaches the gateways, and through them the other hosts. Empty: none."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : can(cidrnetmask(cidr))])
    error_message = "admin_cidrs has to hold IPv4 ranges, such as 203.0.113.0/24; a single address is 203.0.113.7/32."
  }

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : try(tonumber(split("/", cidr)[1]) >= 8, true)])
    error_message = "admin_cidrs must not open SSH to the internet: a range has to be /8 or smaller."
  }
}

variable "gateway_ports" {
  description = "Ports that the gateways are published on: traefik_port and traefik_tls_port."
  type        = object({ http = optional(number, 8080), https = optional(number, 8443) })
  default     = {}

  validation {
    condition     = alltrue([for port in values(var.gateway_ports) : port >= 1 && port <= 65535 && floor(port) == port])
    error_message = "gateway_ports has to hold ports, 1 to 65535."
  }

  validation {
    condition     = var.gateway_ports.http != var.gateway_ports.https
    error_message = "gateway_ports.http and gateway_ports.https have to differ."
  }
}

variable "load_balancer" {
  description = "Whether clients come through a load balancer; they then can't reach the gateways directly."
  type        = bool
  default     = false
}

variable "model_tasks" {
  description = "Whether model-service runs on ECS; its tasks and their load balancer then get groups of their own."
  type        = bool
  default     = false
}

variable "tags" {
  description = "Tags of all resources."
  type        = map(string)
  default     = {}
}
