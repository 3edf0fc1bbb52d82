# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say how the places of models are reached."""

    DOCUMENTATION = r"""
options:
  hf_endpoint:
    description: Address of the hub, or of a mirror. E(HF_ENDPOINT) in the task's environment gives it, too.
    type: str
    default: https://huggingface.co
  hf_token:
    description: Access token for the hub. E(HF_TOKEN) in the task's environment gives it, too.
    type: str
  storage_url:
    description: Address of storage-service as the host reaches it, such as V(https://llm.example.com/api/storage).
    type: str
  storage_username:
    description: User who may read storage-service at the gateway.
    type: str
  storage_password:
    description: That user's password.
    type: str
  s3_endpoint:
    description: Address of an S3 server other than Amazon's.
    type: str
  s3_region:
    description: The bucket's region; by default what the AWS configuration on the host says.
    type: str
"""
