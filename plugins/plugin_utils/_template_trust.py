# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether strings from elsewhere are templates, said in the words of whichever ansible-core runs."""

from __future__ import annotations

from typing import Any

from ansible.utils.unsafe_proxy import AnsibleUnsafeText

try:
    from ansible.template import trust_as_template
except ImportError:
    # Before ansible-core 2.19 it's the other way round: each string is a template that isn't marked as unsafe.
    trust_as_template = None


def with_trust(value: Any, trusted: bool) -> Any:
    """The same JSON value, whose strings are templates only if `trusted`."""
    if isinstance(value, dict):
        return {with_trust(key, trusted): with_trust(item, trusted) for key, item in value.items()}
    if isinstance(value, list):
        return [with_trust(item, trusted) for item in value]
    # What has no brace is no template, and is shown as it is by ansible-inventory before 2.19 if it has no mark.
    if not isinstance(value, str) or "{" not in value:
        return value
    if trust_as_template:
        return trust_as_template(value) if trusted else value
    return value if trusted else AnsibleUnsafeText(value)
