#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_base
short_description: Get a plain Debian image, pulled or bootstrapped
version_added: 0.1.0
description:
  - Makes sure that the engine has a plain Debian image to build others on.
  - Pulls it where an image registry is reachable. Where none is, bootstraps it with C(debootstrap) from Debian's own
    packages, which are verified with Debian's archive keys.
  - The label C(llm.orchestrator.origin) tells where the image came from.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
requirements:
  - docker >= 5.0.3
  - debootstrap and root, where the image can't be pulled
extends_documentation_fragment:
  - llm.orchestrator.progress
attributes:
  check_mode:
    description: Says whether the image would be made, and makes nothing.
    support: full
  diff_mode:
    description: Shows whether the image is there before and after.
    support: full
  idempotent:
    description: An image that is there stays as it is.
    support: full
options:
  name:
    description: Name of the image, with its tag.
    type: str
    default: llm-orchestrator/debian:12
  pull:
    description: Image to pull. The empty string means to bootstrap without trying.
    type: str
    default: docker.io/library/debian:12-slim
  pull_timeout:
    description: Seconds that the engine has to reach the image's registry, before the image is bootstrapped instead.
    type: int
    default: 20
  suite:
    description: Debian release to bootstrap.
    type: str
    default: bookworm
  mirror:
    description: Where the packages come from, now and for what is later installed in the image.
    type: str
    default: http://deb.debian.org/debian
  security_mirror:
    description: Where the image's security updates come from.
    type: str
    default: http://deb.debian.org/debian-security
  work_dir:
    description: Directory on the target for the bootstrap, which needs 400 MB there for a minute.
    type: path
    default: /var/lib/llm-orchestrator/bootstrap
  force:
    description: Make the image even if it is there, to have Debian's newest point release.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Get Debian
  llm.orchestrator.image_base:

- name: Get Debian from a mirror inside the company
  llm.orchestrator.image_base:
    pull: ""
    mirror: http://debian.example.com/debian
    security_mirror: http://debian.example.com/debian-security
"""

RETURN = r"""
image:
  description: The image. Empty in check mode if there is none yet.
  returned: success
  type: dict
  sample:
    id: sha256:eedd94a9ec11
    name: llm-orchestrator/debian:12
    origin: debootstrap bookworm http://deb.debian.org/debian
    size: 131000000
  contains:
    id:
      description: The image's ID.
      type: str
    name:
      description: Its name, with the tag.
      type: str
    origin:
      description: Where it came from.
      type: str
    size:
      description: Its size in bytes.
      type: int
pull_error:
  description: Why the image was bootstrapped although it was to be pulled.
  returned: when pulling failed
  type: str
  sample: "dial tcp: lookup registry-1.docker.io: no such host"
log:
  description: The last lines of the log of debootstrap.
  returned: when bootstrapping failed
  type: list
  elements: str
  sample: ["E: Failed getting release file http://debian.example.com/debian/dists/bookworm/Release"]
log_file:
  description: File on the target with the whole log.
  returned: when bootstrapping failed
  type: str
  sample: /var/lib/llm-orchestrator/bootstrap/debootstrap.log
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils import _image_engine as engine
from ansible_collections.llm.orchestrator.plugins.module_utils._image_bootstrap import (
    CountingReader,
    Release,
    bootstrapped,
    tar_stream,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._image_engine import ImageError
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress

ENGINE_TIMEOUT = 600


def ensure_present(client: Any, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    name = params["name"]
    before = engine.find(client, name)
    changed = before is None or params["force"]
    extra = {}
    if changed and not check_mode:
        progress = Progress(params["progress_file"])
        extra = make(client, params, progress)
    after = engine.find(client, name)
    shown = {}
    if after:
        origin = engine.label(after, engine.ORIGIN_LABEL) or "unknown"
        shown = {"id": after["Id"], "name": name, "origin": origin, "size": after["Size"]}
    diff = {"before": {"present": before is not None}, "after": {"present": True}}
    return {"changed": changed, "image": shown, "diff": diff, **extra}


def make(client: Any, params: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """Pull or bootstrap the image; what is worth telling about it."""
    extra = {}
    if params["pull"]:
        error = engine.pull(params["pull"], params["name"], params["pull_timeout"], progress)
        if error is None:
            return {}
        extra = {"pull_error": error}
    release = Release(params["suite"], params["mirror"], params["security_mirror"])
    with bootstrapped(release, params["work_dir"], progress) as root, tar_stream(root) as tar:
        reader = CountingReader(tar, lambda count: progress.update("importing", count))
        engine.import_tar(client, reader, params["name"], f"debootstrap {release.suite} {release.mirror}")
        if tar.wait() != 0:
            engine.remove(client, params["name"])
            raise ImageError(f"tar of the bootstrapped root file system failed (status {tar.returncode})")
    return extra


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", default="llm-orchestrator/debian:12"),
            pull=dict(type="str", default="docker.io/library/debian:12-slim"),
            pull_timeout=dict(type="int", default=20),
            suite=dict(type="str", default="bookworm"),
            mirror=dict(type="str", default="http://deb.debian.org/debian"),
            security_mirror=dict(type="str", default="http://deb.debian.org/debian-security"),
            work_dir=dict(type="path", default="/var/lib/llm-orchestrator/bootstrap"),
            force=dict(type="bool", default=False),
            **PROGRESS_ARGS,
        ),
        supports_check_mode=True,
    )
    try:
        client = engine.connect(ENGINE_TIMEOUT)
        module.exit_json(**ensure_present(client, module.params, module.check_mode))
    except ImageError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
