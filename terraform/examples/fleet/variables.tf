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

variable "gateways" {
  description = "Number of gateways."
  type        = number
  default     = 1
}

variable "model_hosts" {
  description = "Number of hosts of model-service."
  type        = number
  default     = 2
}

variable "deletion_protection" {
  description = "Whether the load balancer has to be unprotected first to be destroyed."
  type        = bool
  default     = true
}
