#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_quantization
short_description: Check that a model is INT8, or make it so
version_added: 0.1.0
author: llm.orchestrator contributors (@llm-orchestrator)
description:
  - INT8 means Q8_0, which is that each weight matrix is stored in 8 bits per weight.
  - With O(state=verified) it fails unless the file is that.
  - With O(state=present) it makes an INT8 file from one of higher precision. llama.cpp's quantizer does it,
    in a container that has no network and is removed afterwards. The result is verified, stored under its own
    digest, and recorded with the digest of its source, so that it is not made again.
  - A file that is INT8 already is left as it is.
requirements:
  - docker (Docker SDK for Python) >= 5.0.3, with O(state=present)
  - a Docker Engine on the host, with O(state=present)
options:
  path:
    description: The model file that is checked or quantized.
    type: path
    required: true
  state:
    description: V(verified) only checks; V(present) makes the INT8 file.
    type: str
    choices: [verified, present]
    default: verified
  kv_type:
    description: Type that the KV cache is to have; the module fails if the model can't have it.
    type: str
    choices: [f16, q8_0]
    default: f16
  name:
    description:
      - Name of the INT8 model; its file is C(<name>.gguf).
      - By default the source's name with C(-q8_0) appended.
    type: str
  models_dir:
    description: Directory that holds the host's models; made if it isn't there.
    type: path
    default: /var/lib/llm-orchestrator/models
  image:
    description: The image that carries the quantizer. It must be on the host; it is never pulled.
    type: str
    default: llm-orchestrator/model-service:0.1.0
  allow_requantize:
    description:
      - Also quantize a file of lower precision, such as Q4_K_M.
      - The result is INT8 in form, larger and slower, and no better than its source, so this is for trials
        only.
    type: bool
    default: false
  memory:
    description:
      - Memory limit of the container, such as V(4g).
      - By default what the largest tensor needs.
    type: str
  user:
    description:
      - Numeric user and group that the quantizer runs as, V(UID:GID). The source must be readable for them.
      - Only root can choose; otherwise the quantizer runs as the module's own user.
    type: str
    default: "10001:10001"
  timeout:
    description: Seconds after which a quantizer that has not finished is stopped.
    type: int
    default: 7200
  mode:
    description: Permissions of the INT8 file.
    type: raw
    default: "0644"
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
  - ansible.builtin.files
  - llm.orchestrator.progress
attributes:
  check_mode:
    support: full
    details:
      - The digest of a file that isn't made yet isn't known, so RV(path) and RV(sha256) are nothing then.
      - With O(state=present) a source that isn't there counts as one that an earlier task would have fetched.
  diff_mode:
    support: full
  platform:
    platforms: posix
  safe_file_operations:
    description: Never leaves a file that is half written under its name.
    support: full
    details: The file is written under another name, verified, synced to disk and renamed, whatever
      O(unsafe_writes) says.
seealso:
  - module: llm.orchestrator.model_download
  - module: llm.orchestrator.model_info
"""

EXAMPLES = r"""
- name: Make an INT8 model
  llm.orchestrator.model_quantization:
    path: "{{ downloaded_model.path }}"
    state: present
    name: house-model-q8_0
  register: int8_model

- name: Stop unless the model is INT8, and can have a KV cache of 8 bits too
  llm.orchestrator.model_quantization:
    path: "{{ int8_model.path }}"
    state: verified
    kv_type: q8_0

- name: Try the platform with a 4-bit model made INT8, which gains no quality
  llm.orchestrator.model_quantization:
    path: "{{ demo_model.path }}"
    state: present
    allow_requantize: true
"""

RETURN = r"""
path:
  description: The INT8 file; nothing in check mode where it isn't made yet.
  returned: success
  type: str
  sample: /srv/models/b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53/house-model.gguf
sha256:
  description: Digest of the INT8 file; nothing in check mode where it isn't made yet.
  returned: O(state=present)
  type: str
  sample: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
file_bytes:
  description: Size of the INT8 file; nothing in check mode where it isn't made yet.
  returned: success
  type: int
  sample: 144811072
quantization:
  description: The quantization that the INT8 file names for itself; nothing in check mode where it isn't made
    yet.
  returned: success
  type: str
  sample: Q8_0
int8_share:
  description: Part of the weight matrices' elements that is Q8_0, from 0 to 1.
  returned: O(state=verified), also on failure
  type: float
  sample: 1.0
differing:
  description: The tensors that keep the file from being INT8, with their types.
  returned: O(state=verified), also on failure
  type: dict
  sample: {}
record:
  description:
    - What is recorded beside the file, as M(llm.orchestrator.model_download) returns it.
    - Nothing for a file that is INT8 already but not in a model store.
  returned: O(state=present)
  type: dict
  contains:
    made:
      description: From which file, by what and with which image it was made.
      type: dict
      sample:
        source_sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
        recipe: llama.cpp llama_model_quantize Q8_0
        image: llm-orchestrator/model-service:0.1.0@sha256:4a5b
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.common.text.formatters import human_to_bytes
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_facts import (
    Int8Report,
    nominal_quantization,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import model_name
from ansible_collections.llm.orchestrator.plugins.module_utils._int8 import (
    Derivation,
    Derived,
    NotInt8Error,
    ensure_derived,
    model_header,
    parse_user,
    require_int8,
    require_kv_type,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._model_store import (
    ModelStore,
    checked_name,
    checked_root,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import ModelFileError
from ansible_collections.llm.orchestrator.plugins.module_utils._progress import PROGRESS_ARGS, Progress
from ansible_collections.llm.orchestrator.plugins.module_utils._quantizer import HAS_DOCKER


def ensure_verified(module: AnsibleModule) -> dict[str, Any]:
    path = Path(module.params["path"])
    header = model_header(path)
    require_kv_type(path, header, module.params["kv_type"])
    report = require_int8(path, header)
    return {
        "changed": False,
        "path": str(path),
        "file_bytes": header.file_bytes,
        "quantization": nominal_quantization(header),
        **describe(report),
    }


def describe(report: Int8Report) -> dict[str, Any]:
    return {
        "int8_share": report.share,
        "differing": {tensor.name: tensor.type.name for tensor in report.differing},
    }


def ensure_present(module: AnsibleModule) -> dict[str, Any]:
    if not HAS_DOCKER and not module.check_mode:
        raise ModelFileError(missing_required_lib("docker", reason="to quantize"))
    params = module.params

    def set_attributes(path: Path) -> bool:
        arguments = module.load_file_common_arguments(params, path=str(path))
        return bool(module.set_fs_attributes_if_different(arguments, False))

    source = Path(params["path"])
    wanted = Derivation(
        store=ModelStore(checked_root(params["models_dir"])),
        source=source,
        name=checked_name(params["name"] or f"{model_name(source.name)}-q8_0"),
        image=params["image"],
        user=parse_user(params["user"]),
        memory_bytes=parse_memory(params["memory"]),
        allow_requantize=params["allow_requantize"],
        kv_type=params["kv_type"],
        timeout=params["timeout"],
        progress=Progress(params["progress_file"]),
        set_attributes=set_attributes,
    )
    return result(wanted, ensure_derived(wanted, module.check_mode))


def parse_memory(memory: str | None) -> int | None:
    if memory is None:
        return None
    try:
        return int(human_to_bytes(memory))
    except ValueError as error:
        raise ModelFileError(f"memory {memory!r} is no size such as 4g: {error}") from error


def result(wanted: Derivation, derived: Derived) -> dict[str, Any]:
    header = model_header(derived.path) if derived.path else None
    after = {"int8_of": str(wanted.source), "state": "present"}
    return {
        "changed": derived.changed,
        "path": str(derived.path) if derived.path else None,
        "sha256": derived.sha256,
        "file_bytes": header.file_bytes if header else None,
        "quantization": nominal_quantization(header) if header else None,
        "record": asdict(derived.record) if derived.record else None,
        "diff": {"before": {**after, "state": "absent"} if derived.changed else after, "after": after},
    }


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "state": {"type": "str", "choices": ["verified", "present"], "default": "verified"},
            "kv_type": {"type": "str", "choices": ["f16", "q8_0"], "default": "f16"},
            "name": {"type": "str"},
            "models_dir": {"type": "path", "default": "/var/lib/llm-orchestrator/models"},
            "image": {"type": "str", "default": "llm-orchestrator/model-service:0.1.0"},
            "allow_requantize": {"type": "bool", "default": False},
            "memory": {"type": "str"},
            "user": {"type": "str", "default": "10001:10001"},
            "timeout": {"type": "int", "default": 7200},
            "mode": {"type": "raw", "default": "0644"},
            **PROGRESS_ARGS,
        },
        add_file_common_args=True,
        supports_check_mode=True,
    )
    ensure = {"verified": ensure_verified, "present": ensure_present}[module.params["state"]]
    try:
        module.exit_json(**ensure(module))
    except NotInt8Error as error:
        module.fail_json(msg=str(error), **describe(error.report))
    except (ModelFileError, OSError) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
