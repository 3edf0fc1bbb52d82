variable "region" {
  description = "AWS region."
  type        = string
  default     = "eu-central-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-[0-9]$", var.region))
    error_message = "region has to be one such as eu-central-1."
  }
}

variable "name" {
  description = "The platform's name, which the names of all resources begin with."
  type        = string
  default     = "llm"
}

variable "client_cidrs" {
  description = "IPv4 ranges whose clients may use the platform."
  type        = set(string)
}

variable "admin_cidrs" {
  description = "IPv4 ranges from which SSH reaches the gateways: yours."
  type        = set(string)
}

variable "ssh_public_key" {
  description = "The text of the public key that opens the hosts."
  type        = string
}

variable "inventory_access" {
  description = "How Ansible reaches the hosts: jump, through the gateways, or direct, from inside."
  type        = string
  default     = "jump"
}

variable "model_bucket" {
  description = "Name of the bucket for models, which nobody else in the world may have."
  type        = string
}

variable "model_service" {
  description = "What runs on ECS: `image`, in the registry that is made here, `model`, in the bucket that is made here, and how many tasks."
  type = object({
    image                  = string
    model                  = object({ name = string, key = string, sha256 = string })
    min_tasks              = optional(number, 2)
    max_tasks              = optional(number, 10)
    api_keys_parameter_arn = optional(string)
  })
}

variable "deletion_protection" {
  description = "Whether load balancers have to be unprotected first to be destroyed, and the bucket and repositories be emptied."
  type        = bool
  default     = true
}
