variable "availability_zones" {
  description = "Availability zones of the region to use, such as [\"eu-central-1a\", \"eu-central-1b\"]. Adding one at the end moves no host of a single one."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) >= 1 && length(var.availability_zones) <= 6 && length(distinct(var.availability_zones)) == length(var.availability_zones)
    error_message = "availability_zones has to name 1 to 6 different zones."
  }
}

variable "vpc_cidr" {
  description = "IPv4 range of the VPC, /16 to /20."
  type        = string
  default     = "10.0.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && try(tonumber(split("/", var.vpc_cidr)[1]) >= 16 && tonumber(split("/", var.vpc_cidr)[1]) <= 20, false)
    error_message = "vpc_cidr has to be an IPv4 range of /16 to /20, such as 10.0.0.0/16."
  }
}

variable "nat" {
  description = "How hosts without a public address reach the internet: none (they don't, so images and packages have to come from endpoints and mirrors), single or per_zone NAT gateways."
  type        = string
  default     = "single"

  validation {
    condition     = contains(["none", "single", "per_zone"], var.nat)
    error_message = "nat has to be none, single or per_zone."
  }

  validation {
    condition     = var.model_service_on_ecs == null || var.nat != "none"
    error_message = "nat = none is not for model_service_on_ecs: its tasks get two helper images from public.ecr.aws, which no endpoint reaches."
  }
}

variable "interface_endpoints" {
  description = "AWS services that are reached without the internet, by the ends of their names, such as ecr.api, ecr.dkr, logs, ssm, ssmmessages."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for service in var.interface_endpoints : service != "s3" && can(regex("^[a-z0-9-]+([.][a-z0-9-]+)*$", service))])
    error_message = "interface_endpoints has to hold the ends of service names, such as ecr.api; s3 is always there."
  }
}

variable "client_cidrs" {
  description = "IPv4 ranges whose clients may use the platform; [\"0.0.0.0/0\"] is the internet, and then model_service_api_keys and traefik_tls should be set. Empty: nobody."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.client_cidrs : can(cidrnetmask(cidr))])
    error_message = "client_cidrs has to hold IPv4 ranges, such as 203.0.113.0/24; a single address is 203.0.113.7/32."
  }
}

variable "admin_cidrs" {
  description = "IPv4 ranges from which SSH reaches the gateways. Empty: none."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for cidr in var.admin_cidrs : can(cidrnetmask(cidr)) && try(tonumber(split("/", cidr)[1]) >= 8, false)])
    error_message = "admin_cidrs has to hold IPv4 ranges of /8 or smaller, such as 203.0.113.7/32: SSH is never open to the internet."
  }
}

variable "gateway_ports" {
  description = "Ports that the gateways are published on; the inventory sets traefik_port and traefik_tls_port to them."
  type        = object({ http = optional(number, 8080), https = optional(number, 8443) })
  default     = {}

  validation {
    condition     = alltrue([for port in values(var.gateway_ports) : port >= 1 && port <= 65535 && floor(port) == port]) && var.gateway_ports.http != var.gateway_ports.https
    error_message = "gateway_ports has to hold two different ports, 1 to 65535."
  }

  validation {
    condition     = length(setintersection(values(var.gateway_ports), [22, 2377, 7946])) == 0
    error_message = "gateway_ports must not take 22, 2377 or 7946: SSH and Docker Swarm listen there."
  }
}

variable "load_balancer" {
  description = "A load balancer in front of the gateways: `type` (network or application) and, of an application load balancer, `certificate_arn`. null: clients reach the gateways' own addresses."
  type = object({
    type                 = optional(string, "network")
    certificate_arn      = optional(string)
    idle_timeout_seconds = optional(number, 600)
    access_logs_bucket   = optional(string)
  })
  default = null

  validation {
    condition     = var.load_balancer == null || try(var.load_balancer.type, "network") != "application" || length(var.availability_zones) >= 2
    error_message = "load_balancer: an application load balancer needs two availability_zones."
  }
}
