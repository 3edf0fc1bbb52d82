locals {
  # Each host group's role has what the inventory groups of its hosts need, and no more.
  policies = merge([
    for name, group in var.host_groups : merge([
      for member in group.groups : {
        for policy, json in lookup(var.group_policies, member, {}) : "${name}:${policy}" => { host_group = name, policy = policy, json = json }
      }
    ]...)
  ]...)
}

data "aws_partition" "current" {}

resource "aws_iam_role" "this" {
  for_each = var.host_groups

  name = "${var.name}-${each.key}"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "ec2.amazonaws.com" }
    }]
  })

  tags = var.tags
}

# Sessions without an open port; also who uses SSH gets in by this when SSH fails.
resource "aws_iam_role_policy_attachment" "session_manager" {
  for_each = var.host_groups

  role       = aws_iam_role.this[each.key].name
  policy_arn = "arn:${data.aws_partition.current.partition}:iam::aws:policy/AmazonSSMManagedInstanceCore"
}

resource "aws_iam_role_policy" "this" {
  for_each = local.policies

  name   = each.value.policy
  role   = aws_iam_role.this[each.value.host_group].id
  policy = each.value.json
}

resource "aws_iam_instance_profile" "this" {
  for_each = var.host_groups

  name = "${var.name}-${each.key}"
  role = aws_iam_role.this[each.key].name

  tags = var.tags
}
