locals {
  decrypt = var.kms_key_arn == null ? [] : [{
    Effect = "Allow", Action = ["kms:Decrypt"], Resource = [var.kms_key_arn]
  }]
  encrypt = var.kms_key_arn == null ? [] : [{
    Effect = "Allow", Action = ["kms:Decrypt", "kms:GenerateDataKey"], Resource = [var.kms_key_arn]
  }]
}

output "name" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.bucket
}

output "arn" {
  description = "The bucket."
  value       = aws_s3_bucket.this.arn
}

output "read_policy" {
  description = "IAM policy that lets its holder read the files."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = [aws_s3_bucket.this.arn] },
      { Effect = "Allow", Action = ["s3:GetObject"], Resource = ["${aws_s3_bucket.this.arn}/*"] },
    ], local.decrypt)
  })
}

output "write_policy" {
  description = "IAM policy that lets its holder read, write and delete files; earlier versions stay."
  value = jsonencode({
    Version = "2012-10-17"
    Statement = concat([
      { Effect = "Allow", Action = ["s3:ListBucket"], Resource = [aws_s3_bucket.this.arn] },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload"]
        Resource = ["${aws_s3_bucket.this.arn}/*"]
      },
    ], local.encrypt)
  })
}
