#!/usr/bin/python
# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: model_info
short_description: Say what a GGUF model file is and what memory it needs
version_added: 0.1.0
author: llm.orchestrator contributors (@llm-orchestrator)
description:
  - Reads the header of a GGUF file, never its weights, so it takes milliseconds for a file of any size.
  - Each number in the header is checked before it is used. A file that is broken, cut short or made to do
    harm is refused with a reason.
options:
  path:
    description: The model file, or the first one of a split model (C(-00001-of-0000N.gguf)).
    type: path
    required: true
  context:
    description:
      - Tokens of context of each slot, for the memory estimate.
      - By default what the model was trained for.
    type: int
  slots:
    description: Requests that are served at the same time, each with a context of its own, for the memory
      estimate.
    type: int
    default: 1
  kv_type:
    description: Type of the KV cache, for the memory estimate.
    type: str
    choices: [f16, q8_0]
    default: f16
extends_documentation_fragment:
  - ansible.builtin.action_common_attributes
attributes:
  check_mode:
    support: full
    details: Changes nothing.
  diff_mode:
    support: none
    details: Changes nothing.
  platform:
    platforms: posix
seealso:
  - module: llm.orchestrator.model_download
  - module: llm.orchestrator.model_quantization
"""

EXAMPLES = r"""
- name: Look at a model
  llm.orchestrator.model_info:
    path: "{{ downloaded_model.path }}"
    context: 4096
    slots: 8
    kv_type: q8_0
  register: model

- name: Stop if the host has too little memory for it
  ansible.builtin.assert:
    that: ansible_facts.memtotal_mb * 1048576 > model.memory.total
    fail_msg: >-
      {{ model.path }} needs {{ (model.memory.total / 1048576) | int }} MiB,
      this host has {{ ansible_facts.memtotal_mb }} MiB
"""

RETURN = r"""
path:
  description: The model file.
  returned: success
  type: str
  sample: /srv/models/b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53/smollm2.gguf
file_bytes:
  description: Its size in bytes, of all parts.
  returned: success
  type: int
  sample: 98362432
format_version:
  description: Version of the GGUF format.
  returned: success
  type: int
  sample: 3
architecture:
  description: The model's architecture; nothing where the file doesn't say.
  returned: success
  type: str
  sample: llama
model_name:
  description: The name that the model gives itself; nothing where it gives none.
  returned: success
  type: str
  sample: Smollm2 135M 8k Lc100K Mix1 Ep2
parameters:
  description: Number of weights.
  returned: success
  type: int
  sample: 134515008
context_length:
  description: Tokens of context that the model was trained for; nothing where the file doesn't say.
  returned: success
  type: int
  sample: 8192
vocabulary_size:
  description: Number of tokens that the model knows; nothing where the file doesn't say.
  returned: success
  type: int
  sample: 49152
chat_template:
  description: The chat template; nothing where the model has none.
  returned: success
  type: str
chat_template_sha256:
  description: SHA-256 of the chat template's bytes.
  returned: success
  type: str
quantization:
  description: The quantization that the file names for itself, else the tensor type of most of its weights.
  returned: success
  type: str
  sample: Q4_1
tensor_types:
  description: Tensors by type; C(share) is their part of all weights, from 0 to 1.
  returned: success
  type: dict
  sample:
    Q4_1: {tensors: 210, elements: 106168320, share: 0.789267}
    Q8_0: {tensors: 1, elements: 28311552, share: 0.210471}
    F32: {tensors: 61, elements: 35136, share: 0.000261}
is_int8:
  description:
    - Whether the model is INT8, which means that each weight matrix is Q8_0, and what llama.cpp's quantizer
      leaves alone (norms, biases, routers, position embeddings) is Q8_0 or not quantized.
  returned: success
  type: bool
  sample: false
int8_share:
  description: Part of the weight matrices' elements that is Q8_0, from 0 to 1.
  returned: success
  type: float
  sample: 0.210526
kv_types:
  description: The types that its KV cache can have; V(q8_0) takes heads whose width is a multiple of 32.
  returned: success
  type: list
  elements: str
  sample: [f16, q8_0]
kv_bytes_per_token:
  description:
    - Bytes of KV cache that one token takes, by cache type; nothing where the architecture has no such cache
      or doesn't say enough.
    - An upper bound for models in which some layers attend to a window only.
  returned: success
  type: dict
  sample: {f16: 23040, q8_0: 12240}
memory:
  description:
    - Estimate in bytes for the asked C(context), C(slots) and C(kv_type).
    - C(weights) is exact, C(kv) follows from RV(kv_bytes_per_token), C(compute) is what llama.cpp needs for
      one batch.
    - C(kv), C(compute) and C(total) are nothing where the file doesn't say enough.
  returned: success
  type: dict
  sample:
    context: 4096
    slots: 8
    kv_type: q8_0
    weights: 96576768
    kv: 401080320
    compute: 111673344
    total: 609330432
metadata:
  description:
    - The file's metadata by key, less the chat template.
    - Of long values only the number of items or bytes is given, as text.
  returned: success
  type: dict
  sample: {general.architecture: llama, tokenizer.ggml.tokens: 49152 strings}
"""

import math
from dataclasses import asdict
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.llm.orchestrator.plugins.module_utils import _gguf_facts as facts
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf import (
    GgufError,
    Header,
    Omitted,
    Value,
)
from ansible_collections.llm.orchestrator.plugins.module_utils._gguf_split import read_model


def describe(header: Header, context: int | None, slots: int, kv_type: str) -> dict[str, Any]:
    context_length = facts.architecture_number(header, "context_length")
    template, template_sha256 = facts.chat_template(header) or (None, None)
    int8 = facts.int8_report(header)
    return {
        "file_bytes": header.file_bytes,
        "format_version": header.version,
        "architecture": facts.architecture(header),
        "model_name": facts.text(header, "general.name"),
        "parameters": facts.parameters(header),
        "context_length": context_length,
        "vocabulary_size": facts.vocabulary_size(header),
        "chat_template": template,
        "chat_template_sha256": template_sha256,
        "quantization": facts.nominal_quantization(header),
        "tensor_types": {name: asdict(share) for name, share in facts.tensor_types(header).items()},
        "is_int8": int8.is_int8,
        "int8_share": int8.share,
        "kv_types": facts.kv_types(header),
        "kv_bytes_per_token": {kind: facts.kv_bytes_per_token(header, kind) for kind in facts.KV_TYPES},
        "memory": estimate(header, context or context_length, slots, kv_type),
        "metadata": {key: printable(value) for key, value in header.metadata.items() if key != facts.CHAT_TEMPLATE},
    }


def estimate(header: Header, context: int | None, slots: int, kv_type: str) -> dict[str, Any]:
    memory = facts.memory(header, context, slots, kv_type)
    asked = {"context": context, "slots": slots, "kv_type": kv_type}
    return {**asked, **asdict(memory), "total": memory.total}


def printable(value: Value) -> Any:
    """`value` as JSON has it: no infinity, no bytes that are not UTF-8, no array of 100,000 tokens."""
    if isinstance(value, Omitted):
        return f"{value.count} {value.kind}"
    if isinstance(value, list):
        return [printable(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return facts.readable(value) if isinstance(value, str) else value


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "context": {"type": "int"},
            "slots": {"type": "int", "default": 1},
            "kv_type": {"type": "str", "choices": ["f16", "q8_0"], "default": "f16"},
        },
        supports_check_mode=True,
    )
    params = module.params
    for option in ("context", "slots"):
        if params[option] is not None and params[option] < 1:
            module.fail_json(msg=f"{option} is {params[option]}: it must be at least 1")
    try:
        header = read_model(params["path"])
    except GgufError as error:
        module.fail_json(msg=f"{params['path']} is not a usable model: {error}")
    except OSError as error:
        module.fail_json(msg=f"{params['path']} can't be read: {error.strerror}")
    found = describe(header, params["context"], params["slots"], params["kv_type"])
    module.exit_json(changed=False, path=params["path"], **found)


if __name__ == "__main__":
    main()
