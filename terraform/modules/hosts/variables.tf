variable "name" {
  description = "What the names of all resources begin with."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", var.name))
    error_message = "name has to be 2 to 20 lower-case letters, digits and hyphens, beginning with a letter and not ending with a hyphen."
  }
}

variable "host_groups" {
  description = <<-EOT
    Groups of hosts that are alike, by name. Of each: `groups`, the inventory groups its hosts are in; `count`;
    `instance_type`; `root_volume_gib`; `volumes`, the size in GiB of further volumes by the folder they are mounted at,
    which outlive the instance, and are mounted at its first start alone, so another folder is for new hosts;
    `autoscaling`, whether AWS replaces failed hosts, which loses what is on them; `metadata_hop_limit`, 2 where
    containers need the host's role.
  EOT
  type = map(object({
    groups             = set(string)
    count              = optional(number, 1)
    instance_type      = string
    root_volume_gib    = optional(number, 30)
    volumes            = optional(map(number), {})
    autoscaling        = optional(bool, false)
    metadata_hop_limit = optional(number, 1)
  }))

  validation {
    condition     = alltrue([for name in keys(var.host_groups) : can(regex("^[a-z][a-z0-9-]{0,18}[a-z0-9]$", name))])
    error_message = "host_groups: a name has to be 2 to 20 lower-case letters, digits and hyphens; hosts are called <name>-1, <name>-2 and so on."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : group.count >= 1 && group.count <= 100 && floor(group.count) == group.count])
    error_message = "host_groups: count has to be 1 to 100; leave out a group without hosts."
  }

  validation {
    condition = alltrue(flatten([for group in var.host_groups : [for member in group.groups :
      contains(["gateway", "model_servers", "cache_servers", "storage_servers", "monitoring_servers"], member)
    ]]))
    error_message = "host_groups: groups has to name groups of the inventory: gateway, model_servers, cache_servers, storage_servers, monitoring_servers."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : length(group.groups) >= 1 && length(group.groups) <= 4])
    error_message = "host_groups: a host has to be in 1 to 4 groups; each is a security group, of which it can have five with the one of all hosts."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : can(regex("^[a-z][a-z0-9-]*[.][a-z0-9-]+$", group.instance_type))])
    error_message = "host_groups: instance_type has to be one such as t3.medium."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : group.root_volume_gib >= 10 && group.root_volume_gib <= 16384])
    error_message = "host_groups: root_volume_gib has to be 10 to 16384; the images alone take 5."
  }

  validation {
    condition = alltrue(flatten([for group in var.host_groups : [for folder, gib in group.volumes :
      can(regex("^(/[A-Za-z0-9._-]+)+$", folder)) && gib >= 1 && gib <= 16384
    ]]))
    error_message = "host_groups: volumes has to map absolute folders to sizes of 1 to 16384 GiB, such as { \"/var/lib/docker\" = 100 }."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : length(group.volumes) <= 11])
    error_message = "host_groups: a host can have 11 volumes beside its root volume."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : !group.autoscaling || group.groups == toset(["model_servers"])])
    error_message = "host_groups: autoscaling is for groups that are model_servers alone; the others keep data."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : !group.autoscaling || length(group.volumes) == 0])
    error_message = "host_groups: a group with autoscaling has no volumes, as its hosts come and go; use root_volume_gib."
  }

  validation {
    condition     = alltrue([for group in var.host_groups : contains([1, 2], group.metadata_hop_limit)])
    error_message = "host_groups: metadata_hop_limit has to be 1 (the host alone) or 2 (its containers, too)."
  }
}

variable "public_subnet_ids" {
  description = "Subnets of the gateways, if they have public addresses."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of all other hosts, over which those of a group are spread."
  type        = list(string)

  validation {
    condition     = length(var.private_subnet_ids) >= 1
    error_message = "private_subnet_ids has to name at least one subnet."
  }
}

variable "availability_zones" {
  description = "The subnets' zones, in the same order; volumes are made there."
  type        = list(string)

  validation {
    condition     = length(var.availability_zones) == length(var.private_subnet_ids)
    error_message = "availability_zones has to name the zone of each of private_subnet_ids."
  }
}

variable "gateway_public_addresses" {
  description = "Whether the gateways get fixed public addresses (Elastic IPs). No other host ever has one."
  type        = bool
  default     = true
}

variable "security_group_ids" {
  description = "Security groups: of all hosts under the key hosts, and of each inventory group under its name."
  type        = map(string)

  validation {
    condition     = contains(keys(var.security_group_ids), "hosts")
    error_message = "security_group_ids needs the key hosts."
  }
}

variable "ami_id" {
  description = "Image of new hosts; Debian 12 for x86-64 is what was tested. null: Debian's newest. A host that is there keeps its own."
  type        = string
  default     = null

  validation {
    condition     = var.ami_id == null || can(regex("^ami-[0-9a-f]{8,17}$", var.ami_id))
    error_message = "ami_id has to be an image's id, such as ami-0123456789abcdef0."
  }
}

variable "ssh_public_key" {
  description = "The public key that opens the hosts by SSH. null: none; Systems Manager's sessions are the way in."
  type        = string
  default     = null

  validation {
    condition     = var.ssh_public_key == null || can(regex("^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)) [A-Za-z0-9+/=]+( .*)?$", var.ssh_public_key))
    error_message = "ssh_public_key has to be the text of a public key, such as ssh-ed25519 AAAA...; never a private key, nor a file's name."
  }
}

variable "group_policies" {
  description = "IAM policies, as JSON, that the hosts of inventory groups get, by group and a name."
  type        = map(map(string))
  default     = {}
}

variable "kms_key_arn" {
  description = "KMS key that encrypts the volumes. null: EBS' own."
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
