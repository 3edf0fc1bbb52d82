# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """The options that say how the places of models are reached."""

    DOCUMENTATION = r"""
options:
  allow_http:
    description: Also fetch without TLS over a network. The digest still protects the file, but not who asks
      for what.
    type: bool
    default: false
  connections:
    description:
      - How many ranges of a file to fetch at the same time, from 1 to 16. More than one is faster where the server
        limits what each connection gets, and slower where the network or this host is the limit.
      - What arrives before its turn is kept in memory, up to 8 MiB for each, and lost if the run is killed.
      - Servers that answer no ranges, and files whose digest nobody knows, are fetched over one.
    type: int
    default: 1
  rate_limit:
    description: The most bytes to fetch in a second. Not for V(pypi://), where pip fetches.
    type: int
  retries:
    description: How often a request that may still succeed is tried again while no new byte arrives.
    type: int
    default: 5
  timeout:
    description: Seconds after which a connection counts as broken, if less than 64 KiB arrived in them.
    type: int
    default: 60
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
