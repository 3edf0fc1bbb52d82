data "aws_partition" "current" {}

locals {
  assume_by_tasks = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ecs-tasks.amazonaws.com" }
    }]
  })

  write_logs = {
    Effect   = "Allow"
    Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
    Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
  }

  pull_image = var.repository_arn == null ? [] : [
    { Effect = "Allow", Action = ["ecr:GetAuthorizationToken"], Resource = ["*"] },
    {
      Effect   = "Allow"
      Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
      Resource = [var.repository_arn]
    },
  ]

  read_secret = var.api_keys_parameter_arn == null ? [] : [
    { Effect = "Allow", Action = ["ssm:GetParameters"], Resource = [var.api_keys_parameter_arn] },
  ]

  decrypt = var.kms_key_arn == null ? [] : [
    { Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn] },
  ]
}

# What ECS needs to start a task.
resource "aws_iam_role" "execution" {
  name               = "${var.name}-model-execution"
  assume_role_policy = local.assume_by_tasks

  tags = var.tags
}

resource "aws_iam_role_policy" "execution" {
  name = "start-task"
  role = aws_iam_role.execution.id
  policy = jsonencode({
    Version   = "2012-10-17"
    Statement = concat([local.write_logs], local.pull_image, local.read_secret, local.decrypt)
  })
}

# What the task's containers need: one file of the bucket, and to report their metrics, which go through the log.
resource "aws_iam_role" "task" {
  name               = "${var.name}-model-task"
  assume_role_policy = local.assume_by_tasks

  tags = var.tags
}

resource "aws_iam_role_policy" "task" {
  name = "fetch-model-and-report"
  role = aws_iam_role.task.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      local.write_logs,
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject"]
        Resource = ["arn:${data.aws_partition.current.partition}:s3:::${var.model.bucket}/${var.model.key}"]
      },
    ], local.decrypt)
  })
}
