# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the files of the Hugging Face hub, of storage-service and of S3 are, as addresses that HTTP can ask for."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Optional
from urllib.parse import quote, urlsplit

from ansible.module_utils.basic import env_fallback
from ansible_collections.llm.orchestrator.plugins.module_utils._http_client import Location
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError

try:
    import botocore.config
    import botocore.exceptions
    import botocore.session
except ImportError:
    HAS_BOTOCORE = False
else:
    HAS_BOTOCORE = True

HUB = "https://huggingface.co"
# The module options that Access is made of.
ACCESS_ARGS = {
    "hf_endpoint": {"type": "str", "default": HUB, "fallback": (env_fallback, ["HF_ENDPOINT"])},
    "hf_token": {"type": "str", "no_log": True, "fallback": (env_fallback, ["HF_TOKEN"])},
    "storage_url": {"type": "str"},
    "storage_username": {"type": "str"},
    "storage_password": {"type": "str", "no_log": True},
    "s3_endpoint": {"type": "str"},
    "s3_region": {"type": "str"},
}
_HUB_SOURCE = re.compile(
    r"hf://(?P<repository>[\w.-]+/[\w.-]+)/(?P<path>[^@?#]+)(?:@(?P<revision>[\w./-]+))?", re.ASCII
)
_S3_SOURCE = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,62})/(?P<key>[^?#]+)(?:\?versionId=(?P<version>[^&]+))?")
# Each request gets an address of its own, which has to live until its answer begins.
_SIGNED_SECONDS = 900


@dataclass(frozen=True)
class Access:
    """What sources need beside their address."""

    hf_endpoint: str = HUB
    hf_token: Optional[str] = None
    storage_url: Optional[str] = None
    storage_username: Optional[str] = None
    storage_password: Optional[str] = None
    s3_endpoint: Optional[str] = None
    s3_region: Optional[str] = None


def hub_revision(source: str, revision: Optional[str]) -> str:
    """`revision`, else the one that the source names, else the hub's default."""
    return revision or _hub_parts(source)["revision"] or "main"


def hub_location(source: str, access: Access, revision: str) -> Location:
    """A file of a model repository at a revision."""
    parts = _hub_parts(source)
    url = "/".join(
        (access.hf_endpoint.rstrip("/"), parts["repository"], "resolve", quote(revision, safe=""), quote(parts["path"]))
    )
    return Location(lambda: url, {"Authorization": f"Bearer {access.hf_token}"} if access.hf_token else {})


def _hub_parts(source: str) -> re.Match[str]:
    match = _HUB_SOURCE.fullmatch(source)
    if match:
        return match
    raise ModelFileError(f"source {source!r} is not hf://OWNER/REPOSITORY/PATH@REVISION")


def storage_location(source: str, access: Access) -> Location:
    """A file of storage-service, which `access.storage_url` leads to."""
    path = source.removeprefix("storage://")
    if not path.strip("/") or urlsplit(source).query:
        raise ModelFileError(f"source {source!r} is not storage://PATH/OF/FILE")
    if not access.storage_url:
        raise ModelFileError(
            f"{source} needs storage_url, the address of storage-service, such as https://llm.example.com/api/storage"
        )
    url = f"{access.storage_url.rstrip('/')}/v1/files/{quote(path)}"
    if access.storage_username is None:
        return Location(lambda: url)
    pair = f"{access.storage_username}:{access.storage_password or ''}"
    return Location(lambda: url, {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"})


def s3_location(source: str, access: Access) -> Location:
    """An object in S3; the host's AWS credentials sign each address."""
    match = _S3_SOURCE.fullmatch(source)
    if not match:
        raise ModelFileError(f"source {source!r} is not s3://BUCKET/KEY or s3://BUCKET/KEY?versionId=VERSION")
    if not HAS_BOTOCORE:
        raise ModelFileError(
            f"{source} needs the Python package botocore on the host (Debian: python3-botocore), which signs S3's"
            " addresses"
        )
    asked = {"Bucket": match["bucket"], "Key": match["key"], "ChecksumMode": "ENABLED"}
    if match["version"]:
        asked["VersionId"] = match["version"]
    # Signed with the address, so it has to be sent with it.
    return Location(_signer(source, asked, access), {"x-amz-checksum-mode": "ENABLED"})


def _signer(source: str, asked: dict[str, str], access: Access) -> Callable[[], str]:
    try:
        client = botocore.session.get_session().create_client(
            "s3",
            region_name=access.s3_region,
            endpoint_url=access.s3_endpoint,
            # Not "auto": that asks Amazon's global address, which redirects to the bucket's region while the bucket
            # is new, and the signature is for one address.
            config=botocore.config.Config(
                signature_version="s3v4", s3={"addressing_style": "path" if access.s3_endpoint else "virtual"}
            ),
        )
    except (botocore.exceptions.BotoCoreError, ValueError) as error:
        raise ModelFileError(f"{source}: {error}") from error

    def signed() -> str:
        try:
            return str(client.generate_presigned_url("get_object", Params=asked, ExpiresIn=_SIGNED_SECONDS))
        except botocore.exceptions.BotoCoreError as error:
            raise ModelFileError(
                f"{source} can't be signed for: {error} (AWS credentials come from the task's environment,"
                " a profile or the instance's role)"
            ) from error

    return signed
