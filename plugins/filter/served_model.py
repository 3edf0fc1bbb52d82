# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What model-service is told of a model, and what the model takes of the host."""

from __future__ import annotations

import hashlib
import os.path
from collections.abc import Callable, Mapping
from typing import Any, Optional

DOCUMENTATION = r"""
name: served_model
short_description: What model-service is told of a model, and what that takes
description:
  - Puts together what is known of a model once it is there, or has been asked for in check mode.
  - What is not known yet, as the model isn't there, counts with what it takes at least, so that nothing is refused that
    would work.
author:
  - llm.orchestrator contributors (@llm-orchestrator)
options:
  _input:
    description: A model as in O(llm.orchestrator.model_service#role:main:model_service_models).
    type: dict
    required: true
  downloaded:
    description: What M(llm.orchestrator.model_download) returned for it.
    type: dict
    required: true
  quantized:
    description: What M(llm.orchestrator.model_quantization) returned for it, or that it was skipped.
    type: dict
    required: true
  info:
    description: What M(llm.orchestrator.model_info) returned for the file that is there, or that it was skipped.
    type: dict
    required: true
  context:
    description: Tokens of one request.
    type: int
    required: true
  slots:
    description: Requests that are computed side by side.
    type: int
    required: true
  models_dir:
    description: Where models lie on the host, which the container has as C(/models).
    type: str
    required: true
  chat_template:
    description: The text that replaces the model's own chat template, if there is one.
    type: str
    default: ""
  kv_tokens:
    description: Tokens of all requests together; 0 for O(slots) times O(context).
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Take the model
  ansible.builtin.set_fact:
    served: "{{ model | llm.orchestrator.served_model(downloaded, quantized, info, 4096, 8, '/srv/models') }}"
"""

RETURN = r"""
_value:
  description:
    - C(entry) is what model-service is told, C(path) the file on the host, or nothing where it isn't made yet.
    - C(memory_bytes) is what it takes once loaded, C(disk_bytes) what is still to come on the disk.
    - C(changes) is whether anything is still to be done for it.
  type: dict
"""

# Q8_0 takes 34 bytes for 32 weights, of which each takes 4 bytes at most before.
_INT8_BYTES = 34 / 32
_LEAST_INT8_SHARE = _INT8_BYTES / 4
# llama.cpp rearranges some of the weights in a copy.
_LOADED = 1.5


def served_model(
    model: Mapping[str, Any],
    downloaded: Mapping[str, Any],
    quantized: Mapping[str, Any],
    info: Mapping[str, Any],
    context: int,
    slots: int,
    models_dir: str,
    chat_template: str = "",
    kv_tokens: int = 0,
) -> dict[str, Any]:
    makes_int8 = not quantized.get("skipped", False)
    path = quantized.get("path") if makes_int8 else downloaded.get("path")
    known = None if info.get("skipped", False) else info
    fetches, makes = _is_to_come(downloaded), makes_int8 and _is_to_come(quantized)
    source_bytes = (downloaded.get("pin") or {}).get("size") or 0
    from_wheel = str(model.get("source") or "").startswith("pypi:")
    entry = {
        "name": model["name"],
        # In check mode the file may not be made yet, and its folder is named by a digest that isn't known.
        "path": f"/models/{os.path.relpath(path, models_dir) if path else 'unknown/' + model['name']}",
        "use_int8": makes_int8,
        "kv_type": model.get("kv_type") or "f16",
        "context": context,
        "slots": slots,
    }
    if chat_template:
        digest = hashlib.sha256(chat_template.encode()).hexdigest()
        entry["chat_template_file"] = f"/models/chat_templates/{digest}.jinja"  # where the role puts it
    if model.get("chat_template_sha256"):
        entry["chat_template_sha256"] = model["chat_template_sha256"]
    if model.get("adapters"):
        entry["adapters"] = [
            {
                "name": adapter["name"],
                "path": f"/models/{os.path.relpath(adapter['path'], models_dir)}",
                "scale": adapter.get("scale", 1.0),
            }
            for adapter in model["adapters"]
        ]
    return {
        "entry": entry,
        "path": path,
        "memory_bytes": _memory_bytes(known, makes_int8, source_bytes, _kv_share(context, slots, kv_tokens)),
        "disk_bytes": source_bytes * (fetches * (1 + from_wheel) + makes * (2 if model.get("allow_requantize") else 1)),
        "changes": _is_to_change(downloaded) or (makes_int8 and _is_to_change(quantized)),
    }


def _is_to_come(result: Mapping[str, Any]) -> bool:
    return not str(result["diff"]["before"]["state"]).startswith("present")


def _is_to_change(result: Mapping[str, Any]) -> bool:
    return bool(result["diff"]["before"] != result["diff"]["after"])


def _kv_share(context: int, slots: int, kv_tokens: int) -> float:
    """In times of what all slots take; with room of its own each, model-service copies by way of one slot's more."""
    share = kv_tokens / (context * slots) if kv_tokens else 1
    return share if share < 1 else share + 1 / slots


def _memory_bytes(info: Optional[Mapping[str, Any]], makes_int8: bool, source_bytes: int, kv_share: float) -> int:
    if info is None:
        return int(source_bytes * (_LEAST_INT8_SHARE if makes_int8 else 1) * _LOADED)
    memory = info["memory"]
    weights = memory["weights"]
    if makes_int8 and not info["is_int8"]:
        weights = info["parameters"] * _INT8_BYTES
    return int(weights * _LOADED + (memory["kv"] or 0) * kv_share + (memory["compute"] or 0))


class FilterModule:
    """Filters for the model's role."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"served_model": served_model}
