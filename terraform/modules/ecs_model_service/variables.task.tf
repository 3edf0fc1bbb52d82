variable "image" {
  description = "model-service's image, with a tag or digest."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.image)) && !can(regex(":latest$", var.image))
    error_message = "image has to be an image with a tag or digest, and not latest, with which nobody knows what runs or what a rollback returns to."
  }
}

variable "repository_arn" {
  description = "The ECR repository that the image is in, which the tasks may then pull from. null: it is in a public registry."
  type        = string
  default     = null

  validation {
    condition     = var.repository_arn == null || can(regex("^arn:[a-z-]+:ecr:[a-z0-9-]+:[0-9]{12}:repository/.+$", var.repository_arn))
    error_message = "repository_arn has to be the ARN of an ECR repository."
  }
}

variable "cpu" {
  description = "CPU units of a task: 1024 are one."
  type        = number
  default     = 4096

  validation {
    condition     = contains([1024, 2048, 4096, 8192, 16384], var.cpu)
    error_message = "cpu has to be 1024, 2048, 4096, 8192 or 16384."
  }
}

variable "memory_mib" {
  description = "Memory of a task in MiB; the model's file, its context and 1 GiB have to fit."
  type        = number
  default     = 8192

  validation {
    condition     = var.memory_mib % 1024 == 0 && var.memory_mib >= max(2 * var.cpu, 2048) && var.memory_mib <= min(8 * var.cpu, 122880)
    error_message = "memory_mib has to be 2 to 8 MiB for each CPU unit, in whole GiB: that is what Fargate has."
  }
}

variable "ephemeral_storage_gib" {
  description = "Disk of a task in GiB; the images and the model's file have to fit."
  type        = number
  default     = 30

  validation {
    condition     = var.ephemeral_storage_gib >= 21 && var.ephemeral_storage_gib <= 200
    error_message = "ephemeral_storage_gib has to be 21 to 200."
  }
}

variable "model" {
  description = "The model: `name`, which clients ask for; `bucket` and `key`, where its INT8 GGUF file is in S3; `sha256`, its digest. A task has 3 minutes to fetch it."
  type        = object({ name = string, bucket = string, key = string, sha256 = string })

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*$", var.model.name))
    error_message = "model.name has to be letters, digits, dots, hyphens and underscores."
  }

  validation {
    condition     = can(regex("^[A-Za-z0-9!_.*'()/-]+[.]gguf$", var.model.key))
    error_message = "model.key has to name a .gguf file in the bucket, such as models/qwen3-8b.gguf."
  }

  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.model.sha256))
    error_message = "model.sha256 has to be the file's SHA-256, 64 hexadecimal digits: sha256sum <file>."
  }
}

variable "fetch_image" {
  description = "The image that fetches the model before model-service starts; it has the AWS command, sh and sha256sum."
  type        = string
  default     = "public.ecr.aws/aws-cli/aws-cli:2.22.12"

  validation {
    condition     = can(regex("(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.fetch_image)) && !can(regex(":latest$", var.fetch_image))
    error_message = "fetch_image has to be an image with a tag or digest, and not latest."
  }
}

variable "metrics_image" {
  description = "The image of the CloudWatch agent, which reports how many requests wait."
  type        = string
  default     = "public.ecr.aws/cloudwatch-agent/cloudwatch-agent:1.300051.0b992"

  validation {
    condition     = can(regex("(:[A-Za-z0-9._-]+|@sha256:[0-9a-f]{64})$", var.metrics_image)) && !can(regex(":latest$", var.metrics_image))
    error_message = "metrics_image has to be an image with a tag or digest, and not latest."
  }
}

variable "environment" {
  description = "More of model-service's settings, such as { MODEL_SLOTS = \"16\" }. No secrets: everybody who may describe tasks reads them."
  type        = map(string)
  default     = {}

  validation {
    condition     = alltrue([for name in keys(var.environment) : can(regex("^(MODEL_[A-Z0-9_]+|USE_INT8)$", name))])
    error_message = "environment has to hold settings of model-service: MODEL_..., or USE_INT8."
  }

  validation {
    condition     = !contains(keys(var.environment), "MODEL_API_KEYS")
    error_message = "environment must not hold MODEL_API_KEYS: put them into an SSM parameter, and its ARN into api_keys_parameter_arn."
  }

  validation {
    condition = length(setintersection(keys(var.environment), [
      "MODEL_PORT", "MODEL_PATH", "MODEL_NAME", "MODEL_MODELS", "MODEL_CACHE_URL", "MODEL_DRAIN_GRACE_SECONDS", "MODEL_DRAIN_TIMEOUT_SECONDS",
    ])) == 0
    error_message = "environment must not hold MODEL_PORT, MODEL_PATH, MODEL_NAME, MODEL_MODELS, MODEL_CACHE_URL or MODEL_DRAIN_...: they follow from other variables."
  }
}

variable "api_keys_parameter_arn" {
  description = "SecureString parameter of Systems Manager that holds the API keys, by newline or comma. null: everybody who reaches the gateway may ask."
  type        = string
  default     = null

  validation {
    condition     = var.api_keys_parameter_arn == null || can(regex("^arn:[a-z-]+:ssm:[a-z0-9-]+:[0-9]{12}:parameter/.+$", var.api_keys_parameter_arn))
    error_message = "api_keys_parameter_arn has to be the ARN of an SSM parameter, not its value."
  }
}

variable "cache_url" {
  description = "cache-service's address. Empty: nothing is cached."
  type        = string
  default     = ""

  validation {
    condition     = var.cache_url == "" || can(regex("^https?://[A-Za-z0-9.-]+(:[0-9]+)?$", var.cache_url))
    error_message = "cache_url has to be an address such as http://10.0.128.10:5001."
  }
}

variable "path_prefix" {
  description = "The path under which the gateway serves model-service's own API, beside /v1: model_service_path_prefix."
  type        = string
  default     = "/api/model"

  validation {
    condition     = can(regex("^(/[a-z0-9_-]+)+$", var.path_prefix))
    error_message = "path_prefix has to be a path such as /api/model."
  }
}

variable "gateway_middlewares" {
  description = "What the gateway asks of each request first: model_service_middlewares."
  type        = list(string)
  default     = ["api-limits@file"]

  validation {
    condition     = alltrue([for name in var.gateway_middlewares : can(regex("^[a-z0-9-]+@[a-z]+$", name))])
    error_message = "gateway_middlewares has to hold Traefik middlewares with their provider, such as api-limits@file."
  }
}
