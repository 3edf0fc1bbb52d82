output "prefix" {
  description = "What the images' names begin with, for llm_image_registry: the account's registry, a slash, and name."
  value       = trimsuffix(values(aws_ecr_repository.this)[0].repository_url, "/${keys(aws_ecr_repository.this)[0]}")
}

output "repository_arns" {
  description = "The repositories, by image."
  value       = { for image, repository in aws_ecr_repository.this : image => repository.arn }
}

output "pull_policy" {
  description = "IAM policy that lets its holder pull these images."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = [
      { Effect = "Allow", Action = "ecr:GetAuthorizationToken", Resource = "*" },
      {
        Effect   = "Allow"
        Action   = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
        Resource = [for repository in aws_ecr_repository.this : repository.arn]
      },
    ]
  })
}
