"""No field that changes the answer is ignored in silence."""

from __future__ import annotations

import pytest

from model_service.parameters import first_unsupported


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", [{"type": "function"}]),
        ("top_logprobs", 5),
        ("response_format", {"type": "json_object"}),
        ("tool_choice", "required"),
        ("modalities", ["text", "audio"]),
        ("reasoning_effort", "high"),
        ("functions", [{"name": "x"}]),
        ("no_such_field", 0),
    ],
)
def test_what_changes_the_answer_is_named(name: str, value: object) -> None:
    assert first_unsupported({"user": "me", name: value}) == name


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("user", "me"),
        ("metadata", {"a": "b"}),
        ("store", True),
        ("tools", []),
        ("tool_choice", "auto"),
        ("response_format", {"type": "text"}),
        ("functions", []),
        ("prediction", {"type": "content", "content": "x"}),
        ("no_such_field", None),
    ],
)
def test_what_does_not_is_accepted(name: str, value: object) -> None:
    assert first_unsupported({name: value}) is None
