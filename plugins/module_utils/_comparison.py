# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What differs between two plain trees of values, field by field."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_SHOWN_DIGITS = 8


def canonical_json(record: Mapping[str, Any]) -> str:
    """One text for one record: sorted keys, no spaces, ASCII."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parts of before and of after that differ; both empty when nothing does.

    Mappings are compared field by field, everything else as a whole.
    """
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    for name in sorted({*before, *after}):
        if name in before and name in after:
            left, right = before[name], after[name]
            if isinstance(left, Mapping) and isinstance(right, Mapping):
                inner_old, inner_new = differences(left, right)
                if inner_old or inner_new:
                    old[name], new[name] = inner_old, inner_new
            elif left != right:
                old[name], new[name] = left, right
        elif name in before:
            old[name] = before[name]
        else:
            new[name] = after[name]
    return old, new


def masked(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record as a person may see it: of a secret, only enough of its digest to tell two apart."""
    shown = {name: masked(value) if isinstance(value, Mapping) else value for name, value in record.items()}
    secrets = record.get("secrets")
    if isinstance(secrets, Mapping):
        shown["secrets"] = {name: f"(hidden, fingerprint {digest[:_SHOWN_DIGITS]})" for name, digest in secrets.items()}
    return shown
