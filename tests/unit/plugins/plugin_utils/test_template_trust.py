# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Held against Ansible's own templating, of whichever release runs."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible_collections.llm.orchestrator.plugins.plugin_utils._template_trust import with_trust

TEMPLATE = "{{ 'forty' ~ 'two' }}"


def rendered(value: Any) -> Any:
    return Templar(loader=DataLoader(), variables={"value": value}).template(value)


@pytest.mark.parametrize("text", [TEMPLATE, "{% if true %}42{% endif %}", "{# 42 #}", "a {{ lookup('pipe', 'id') }}"])
def test_text_from_elsewhere_stays_as_it_is(text: str) -> None:
    value = {"plain": text, "list": [text, {text: text}], "number": 1, "nothing": None, "truth": True}
    assert rendered(with_trust(value, trusted=False)) == value


def test_trusted_text_is_a_template() -> None:
    value = with_trust({"plain": TEMPLATE, "list": [TEMPLATE, {"key": "a"}], "number": 1}, trusted=True)
    assert rendered(value) == {"plain": "fortytwo", "list": ["fortytwo", {"key": "a"}], "number": 1}


def test_text_without_a_brace_is_just_text() -> None:
    for trusted in (True, False):
        assert type(with_trust("10.0.1.10", trusted)) is str
