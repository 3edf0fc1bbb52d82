locals {
  flow_log = var.flow_log_retention_days == null ? [] : ["this"]
}

resource "aws_flow_log" "this" {
  for_each = toset(local.flow_log)

  vpc_id          = aws_vpc.this.id
  traffic_type    = "ALL"
  log_destination = aws_cloudwatch_log_group.flow_log[each.key].arn
  iam_role_arn    = aws_iam_role.flow_log[each.key].arn

  tags = merge(var.tags, { Name = var.name })
}

resource "aws_cloudwatch_log_group" "flow_log" {
  for_each = toset(local.flow_log)

  name              = "/${var.name}/flow-log"
  retention_in_days = var.flow_log_retention_days
  kms_key_id        = var.kms_key_arn

  tags = var.tags
}

resource "aws_iam_role" "flow_log" {
  for_each = toset(local.flow_log)

  name = "${var.name}-flow-log"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "vpc-flow-logs.amazonaws.com" }
    }]
  })

  tags = var.tags
}

resource "aws_iam_role_policy" "flow_log" {
  for_each = toset(local.flow_log)

  name = "write-flow-log"
  role = aws_iam_role.flow_log[each.key].id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect   = "Allow"
      Action   = ["logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogGroups", "logs:DescribeLogStreams"]
      Resource = ["${aws_cloudwatch_log_group.flow_log[each.key].arn}:*"]
    }]
  })
}
