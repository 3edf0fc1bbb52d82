mock_provider "aws" {
  override_during = plan

  override_resource {
    target = aws_ecr_repository.this["base"]
    values = { repository_url = "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm/base" }
  }

  override_resource {
    target = aws_ecr_repository.this["model-service"]
    values = {
      arn = "arn:aws:ecr:eu-central-1:111122223333:repository/llm/model-service"
    }
  }
}

variables {
  name = "llm"
}

run "every_image_of_the_platform_has_a_repository" {
  command = plan

  assert {
    condition = keys(aws_ecr_repository.this) == [
      "base", "cache-service", "model-service", "monitoring-service", "node-exporter", "prometheus", "redis",
      "redis-exporter", "socket-filter", "storage-service", "traefik",
    ]
    error_message = "There is a repository for each image that the roles run."
  }
}

run "repositories_are_called_as_the_roles_ask_for_images" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this["model-service"].name == "llm/model-service" && output.prefix == "111122223333.dkr.ecr.eu-central-1.amazonaws.com/llm"
    error_message = "<prefix>/<image>:<tag> is an image in the registry."
  }
}

run "images_are_scanned_when_they_come" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this["model-service"].image_scanning_configuration[0].scan_on_push
    error_message = "Known weaknesses are found on push."
  }
}

run "a_tag_never_moves" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this["model-service"].image_tag_mutability == "IMMUTABLE"
    error_message = "A rollback returns to the same image."
  }
}

run "images_are_encrypted_and_kept_from_a_destroy" {
  command = plan

  assert {
    condition     = aws_ecr_repository.this["model-service"].encryption_configuration[0].encryption_type == "KMS"
    error_message = "Images are encrypted by a KMS key."
  }

  assert {
    condition     = !aws_ecr_repository.this["model-service"].force_delete
    error_message = "A repository with images is not destroyed unasked."
  }
}

run "old_images_go" {
  command = plan

  assert {
    condition     = [for rule in jsondecode(aws_ecr_lifecycle_policy.this["model-service"].policy).rules : rule.selection.countNumber] == [7, 20]
    error_message = "Untagged images go after 7 days, tagged ones when there are more than 20."
  }

  assert {
    condition     = alltrue([for rule in jsondecode(aws_ecr_lifecycle_policy.this["model-service"].policy).rules : rule.action.type == "expire"])
    error_message = "The rules remove images."
  }
}

run "who_pulls_may_do_nothing_else" {
  command = plan

  variables {
    images = ["model-service"]
  }

  assert {
    condition     = length([for action in flatten([for statement in jsondecode(output.pull_policy).Statement : statement.Action]) : action if can(regex("Put|Upload|Delete|[*]", action))]) == 0
    error_message = "The policy changes nothing."
  }

  assert {
    condition     = jsondecode(output.pull_policy).Statement[1].Resource == ["arn:aws:ecr:eu-central-1:111122223333:repository/llm/model-service"]
    error_message = "The policy is for these repositories alone."
  }
}
