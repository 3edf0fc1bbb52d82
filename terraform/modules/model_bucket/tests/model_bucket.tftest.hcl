mock_provider "aws" {
  override_during = plan

  mock_resource "aws_s3_bucket" {
    defaults = { id = "example-models", arn = "arn:aws:s3:::example-models" }
  }
}

variables {
  name = "example-models"
}

run "nobody_outside_reads_it" {
  command = plan

  assert {
    condition     = aws_s3_bucket_public_access_block.this.block_public_acls && aws_s3_bucket_public_access_block.this.block_public_policy && aws_s3_bucket_public_access_block.this.ignore_public_acls && aws_s3_bucket_public_access_block.this.restrict_public_buckets
    error_message = "All four ways to make it public are blocked."
  }

  assert {
    condition     = aws_s3_bucket_ownership_controls.this.rule[0].object_ownership == "BucketOwnerEnforced"
    error_message = "Access lists have no say."
  }
}

run "plain_http_is_refused" {
  command = plan

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Effect == "Deny" && jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Condition.Bool["aws:SecureTransport"] == "false"
    error_message = "Who speaks without TLS is refused."
  }

  assert {
    condition     = jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Resource == ["arn:aws:s3:::example-models", "arn:aws:s3:::example-models/*"] && jsondecode(aws_s3_bucket_policy.this.policy).Statement[0].Principal == "*"
    error_message = "That holds for everybody, for the bucket and all in it."
  }
}

run "what_was_replaced_can_be_got_back_for_a_while" {
  command = plan

  assert {
    condition     = aws_s3_bucket_versioning.this.versioning_configuration[0].status == "Enabled"
    error_message = "Versions are kept."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].status == "Enabled" && aws_s3_bucket_lifecycle_configuration.this.rule[0].noncurrent_version_expiration[0].noncurrent_days == 30
    error_message = "Earlier versions go after 30 days."
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.this.rule[0].abort_incomplete_multipart_upload[0].days_after_initiation == 7
    error_message = "What is left of a broken upload goes after a week."
  }
}

run "models_are_encrypted" {
  command = plan

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).sse_algorithm == "AES256"
    error_message = "S3's own key encrypts."
  }

  assert {
    condition     = length([for statement in jsondecode(output.read_policy).Statement : statement if can(regex("^kms:", statement.Action[0]))]) == 0
    error_message = "Nobody needs a key for that."
  }
}

run "a_key_of_ones_own_encrypts_and_readers_may_use_it" {
  command = plan

  variables {
    kms_key_arn = "arn:aws:kms:eu-central-1:111122223333:key/0f0e0d0c-0000-4000-8000-000000000000"
  }

  assert {
    condition     = one(one(aws_s3_bucket_server_side_encryption_configuration.this.rule).apply_server_side_encryption_by_default).kms_master_key_id == var.kms_key_arn
    error_message = "The given key encrypts."
  }

  assert {
    condition     = [for statement in jsondecode(output.read_policy).Statement : statement.Action if statement.Resource == [var.kms_key_arn]] == [["kms:Decrypt"]]
    error_message = "Readers may decrypt with it, and no more."
  }
}

run "readers_read" {
  command = plan

  assert {
    condition     = flatten([for statement in jsondecode(output.read_policy).Statement : statement.Action]) == ["s3:ListBucket", "s3:GetObject"]
    error_message = "Model hosts list and read models, and change none."
  }

  assert {
    condition     = alltrue([for statement in concat(jsondecode(output.read_policy).Statement, jsondecode(output.write_policy).Statement) : alltrue([for resource in statement.Resource : startswith(resource, "arn:aws:s3:::example-models")])])
    error_message = "Policies are for this bucket alone."
  }

  assert {
    condition     = !contains(flatten([for statement in jsondecode(output.write_policy).Statement : statement.Action]), "s3:DeleteObjectVersion")
    error_message = "Who writes can't remove earlier versions."
  }
}

run "a_bucket_with_models_is_not_destroyed_unasked" {
  command = plan

  assert {
    condition     = !aws_s3_bucket.this.force_destroy && aws_s3_bucket.this.bucket == "example-models"
    error_message = "A destroy leaves a bucket that holds files."
  }
}
