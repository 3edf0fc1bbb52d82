#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: image_build
short_description: Build a container image from a directory
version_added: 0.1.0
description:
  - Builds one image through the Docker Engine's API with its classic builder, so neither the C(docker) command nor
    buildx is needed.
  - An image is built again only if something that it is made from has changed. That is recorded as a SHA-256 in the
    image's label C(llm.orchestrator.fingerprint).
  - While it builds, the newest line of the build log is shown.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
requirements:
  - docker >= 5.0.3
extends_documentation_fragment:
  - llm.orchestrator.progress
attributes:
  check_mode:
    description: Says whether the image would be built, and builds nothing.
    support: full
  diff_mode:
    description: Shows the image's fingerprint before and after.
    support: full
  idempotent:
    description: A second run with the same files, arguments and base image changes nothing.
    support: full
options:
  name:
    description: Name of the image, with its tag.
    type: str
    required: true
  state:
    description:
      - V(present) builds the image unless there is one from the same sources.
      - V(absent) removes it.
    type: str
    choices: [present, absent]
    default: present
  context:
    description: Directory that the build's files are taken from. Required with O(state=present).
    type: path
  include:
    description:
      - Sub-paths of O(context) that are sent, and of whose files the fingerprint is made.
      - Never sent are C(tests), C(__pycache__), C(*.egg-info), C(*.pyc), C(.venv), C(.git) and tools' caches
        (C(.*_cache)).
    type: list
    elements: str
    default: [.]
  extra_files:
    description: Files on the target that are sent beside those of O(context), by their path in it.
    type: dict
    default: {}
  dockerfile:
    description: Path of the Dockerfile, relative to O(context). It must be among the files sent.
    type: str
    default: Dockerfile
  build_args:
    description:
      - Build arguments. Those whose name ends in C(_IMAGE) name images that this one is built on; a new image of that
        name makes this one be built again.
    type: dict
    default: {}
  proxy_env:
    description:
      - Hand the proxy variables (C(http_proxy), C(https_proxy), C(no_proxy) and so on) of the task's environment to
        the build. They are neither part of the fingerprint nor of the image.
    type: bool
    default: true
  network:
    description: Network that the build's commands run in. Left out, it is the engine's default one.
    type: str
  force:
    description: Build even if nothing has changed.
    type: bool
    default: false
  timeout:
    description: Seconds that the engine may stay silent before the build is given up.
    type: int
    default: 1800
"""

EXAMPLES = r"""
- name: Build the cache service
  llm.orchestrator.image_build:
    name: llm-orchestrator/cache-service:0.1.0
    context: /opt/llm/service_src
    include: [cache_service, service_kit]
    dockerfile: cache_service/Dockerfile
    build_args:
      BASE_IMAGE: llm-orchestrator/base:0.1.0

- name: Remove it
  llm.orchestrator.image_build:
    name: llm-orchestrator/cache-service:0.1.0
    state: absent
"""

RETURN = r"""
image:
  description: The image. Empty if there is none; in check mode, the image before the build.
  returned: success
  type: dict
  sample:
    id: sha256:d1e4e04af872
    name: llm-orchestrator/cache-service:0.1.0
    fingerprint: 1f0c6b9e
    size: 319000000
  contains:
    id:
      description: The image's ID.
      type: str
    name:
      description: Its name, with the tag.
      type: str
    fingerprint:
      description: SHA-256 over what it was built from.
      type: str
    size:
      description: Its size in bytes, shared layers included.
      type: int
removed:
  description: IDs of images that had this name before and that nothing uses; what is in use goes with the next build.
  returned: success
  type: list
  elements: str
  sample: [sha256:7c2b6f4c1d1a]
log:
  description: The last lines of the build log.
  returned: when the build failed
  type: list
  elements: str
  sample: ["Step 3/9 : RUN make", "make: *** No targets specified and no makefile found.  Stop."]
log_file:
  description: File on the target with the whole build log.
  returned: when the build failed
  type: str
  sample: /tmp/image-build-cache-service-k2j4.log
"""

import os
import tempfile
from typing import Any, Optional

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils import _image_context as build_context
from ansible_collections.llm.orchestrator.plugins.module_utils import _image_engine as engine
from ansible_collections.llm.orchestrator.plugins.module_utils._image_engine import ImageError
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress

Result = dict[str, Any]


def ensure_present(client: Any, params: dict[str, Any], check_mode: bool) -> Result:
    name, dockerfile = params["name"], os.path.normpath(params["dockerfile"])
    build_args = {key: str(value) for key, value in params["build_args"].items()}
    files = build_context.collect(params["context"], params["include"], params["extra_files"])
    if dockerfile not in {file.name for file in files}:
        raise ImageError(f"The Dockerfile {dockerfile} is not among the files sent from {params['context']}")
    wanted = build_context.fingerprint(files, dockerfile, build_args, base_ids(client, build_args))

    before = engine.find(client, name)
    known = engine.label(before, engine.FINGERPRINT_LABEL)
    changed = known != wanted or params["force"]
    if not changed or check_mode:
        return result(name, before, changed, known, wanted, [])

    options = {
        "tag": name,
        "dockerfile": dockerfile,
        "buildargs": build_args | (engine.proxy_build_args(os.environ) if params["proxy_env"] else {}),
        "labels": {engine.NAME_LABEL: name, engine.FINGERPRINT_LABEL: wanted},
        "network_mode": params["network"],
        "nocache": params["force"],
    }
    progress = Progress(params["progress_file"])
    progress.message(f"sending {len(files)} files to the engine")
    with tempfile.TemporaryFile() as stream:
        build_context.write_tar(files, stream)
        stream.seek(0)
        image_id = engine.build(client, stream, options, progress)
    return result(name, engine.find(client, image_id), True, known, wanted, engine.remove_replaced(client, name))


def ensure_absent(client: Any, params: dict[str, Any], check_mode: bool) -> Result:
    name = params["name"]
    before = engine.find(client, name)
    known = engine.label(before, engine.FINGERPRINT_LABEL)
    if before and not check_mode:
        engine.remove(client, name)
    return result(name, before if check_mode else None, before is not None, known, None, [])


def base_ids(client: Any, build_args: dict[str, str]) -> list[str]:
    """What the images that this one is built on are now; one that is missing counts as such."""
    names = sorted(value for key, value in build_args.items() if key.endswith("_IMAGE"))
    return [f"{name} {(engine.find(client, name) or {}).get('Id', 'missing')}" for name in names]


def result(
    name: str,
    image: Optional[dict[str, Any]],
    changed: bool,
    before: Optional[str],
    after: Optional[str],
    removed: list[str],
) -> Result:
    shown: dict[str, Any] = {}
    if image:
        fingerprint = engine.label(image, engine.FINGERPRINT_LABEL)
        shown = {"id": image["Id"], "name": name, "fingerprint": fingerprint, "size": image["Size"]}
    diff = {
        "before": {"fingerprint": before} if before else {},
        "after": {"fingerprint": after} if after else {},
        "before_header": name,
        "after_header": name,
    }
    return {"changed": changed, "image": shown, "removed": removed, "diff": diff}


def main() -> None:
    module = AnsibleModule(
        argument_spec=dict(
            name=dict(type="str", required=True),
            state=dict(type="str", choices=["present", "absent"], default="present"),
            context=dict(type="path"),
            include=dict(type="list", elements="str", default=["."]),
            extra_files=dict(type="dict", default={}),
            dockerfile=dict(type="str", default="Dockerfile"),
            build_args=dict(type="dict", default={}),
            proxy_env=dict(type="bool", default=True),
            network=dict(type="str"),
            force=dict(type="bool", default=False),
            timeout=dict(type="int", default=1800),
            **PROGRESS_ARGS,
        ),
        required_if=[("state", "present", ["context"])],
        supports_check_mode=True,
    )
    ensure = ensure_present if module.params["state"] == "present" else ensure_absent
    try:
        client = engine.connect(module.params["timeout"])
        module.exit_json(**ensure(client, module.params, module.check_mode))
    except ImageError as error:
        module.fail_json(msg=str(error), **error.details)


if __name__ == "__main__":
    main()
