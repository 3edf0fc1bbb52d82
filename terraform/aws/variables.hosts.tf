variable "host_groups" {
  description = <<-EOT
    Groups of hosts that are alike, by name; hosts are called <name>-1, <name>-2 and so on. Of each: `groups`, the
    inventory groups its hosts are in (gateway, model_servers, cache_servers, storage_servers, monitoring_servers);
    `count`; `instance_type`, x86-64; `root_volume_gib`; `volumes`, sizes in GiB of further volumes by the folder they
    are mounted at, chosen once, as hosts mount them at their first start alone; `autoscaling`, whether AWS replaces
    failed hosts, for model_servers alone. With model_service_on_ecs one host in all is in cache_servers.
  EOT
  type = map(object({
    groups          = set(string)
    count           = optional(number, 1)
    instance_type   = string
    root_volume_gib = optional(number, 30)
    volumes         = optional(map(number), {})
    autoscaling     = optional(bool, false)
  }))

  validation {
    condition = length(setsubtract(
      setsubtract(
        ["gateway", "model_servers", "cache_servers", "storage_servers", "monitoring_servers"],
        var.model_service_on_ecs == null ? [] : ["model_servers"]
      ),
      flatten([for group in var.host_groups : tolist(group.groups)])
    )) == 0
    error_message = "host_groups: each of gateway, model_servers, cache_servers, storage_servers and monitoring_servers needs hosts; only model_servers has none where model_service_on_ecs is set."
  }

  validation {
    condition     = var.model_service_on_ecs == null || !contains(flatten([for group in var.host_groups : tolist(group.groups)]), "model_servers")
    error_message = "host_groups: model_servers has hosts, and model_service_on_ecs is set, too; model-service runs on one of both."
  }

  # Tasks know one address. A Swarm runs cache-service on one of the hosts of its group, and only that one has the port.
  validation {
    condition     = var.model_service_on_ecs == null || sum(concat([0], [for group in var.host_groups : group.count if contains(group.groups, "cache_servers")])) <= 1
    error_message = "host_groups: with model_service_on_ecs only one host can be in cache_servers, as the tasks know the address of one."
  }

  validation {
    condition     = length(setintersection(flatten([for name, group in var.host_groups : [for index in range(group.count) : "${name}-${index + 1}"]]), keys(var.host_groups))) == 0
    error_message = "host_groups: a group is named as a host of another one would be, such as model-1 beside model."
  }
}

variable "ami_id" {
  description = "Image of new hosts. null: Debian's newest Debian 12 for x86-64. A host that is there keeps its own."
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "ami_id has to be an image's id, such as ami-0123456789abcdef0."
  }
}

variable "ssh_user" {
  description = "The image's user with sudo; Debian's is admin."
  type        = string
  default     = "admin"

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]*$", var.ssh_user))
    error_message = "ssh_user has to be a user's name."
  }
}

variable "ssh_public_key" {
  description = "The public key that opens the hosts by SSH, such as file(\"~/.ssh/id_ed25519.pub\"). null: none."
  type        = string
  default     = null

  validation {
    condition     = var.ssh_public_key != null || var.inventory_access == "ssm"
    error_message = "ssh_public_key is needed by inventory_access jump and direct, which use SSH; with ssm none is."
  }
}

variable "gateway_public_addresses" {
  description = "Whether the gateways get fixed public addresses. No other host ever has one."
  type        = bool
  default     = true
}

variable "inventory_access" {
  description = "How Ansible reaches the hosts: jump (SSH to the gateways' public addresses, and through the first of them to the others), direct (SSH to private addresses, from inside or over a VPN) or ssm (Systems Manager's sessions, no open port)."
  type        = string
  default     = "jump"

  validation {
    condition     = contains(["jump", "direct", "ssm"], var.inventory_access)
    error_message = "inventory_access has to be jump, direct or ssm."
  }

  validation {
    condition     = var.inventory_access != "jump" || var.gateway_public_addresses
    error_message = "inventory_access = jump needs gateway_public_addresses; without them use direct or ssm."
  }
}

variable "ssm_transfer_bucket" {
  description = "With inventory_access ssm: name of an S3 bucket of yours that Ansible passes files through. They can hold secrets: it should be private, without versions, and expire files after a day."
  type        = string
  default     = null

  validation {
    condition     = (var.inventory_access == "ssm") == (var.ssm_transfer_bucket != null)
    error_message = "ssm_transfer_bucket is needed with inventory_access = ssm, and with nothing else."
  }
}
