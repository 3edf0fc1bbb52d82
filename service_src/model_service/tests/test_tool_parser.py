"""Tool calls are found in a text wherever its pieces' borders are."""

from __future__ import annotations

import json
import random

import pytest

from model_service.tool_parser import Arguments, CallStarted, Content, Part, ToolCallParser

FIRST = '<tool_call>\n{"name": "a-b_1", "arguments": {"x": "}]\\\\\\"{", "y": [{"z": null}]}}\n</tool_call>'
SECOND = '<tool_call>{"name": "other", "arguments": {}}</tool_call>'


def parsed(pieces: list[str]) -> tuple[str, list[tuple[str, str]]]:
    parser = ToolCallParser("chatcmpl-1", 0)
    parts: list[Part] = [part for piece in pieces for part in parser.feed(piece)] + parser.finish()
    text = "".join(part.text for part in parts if isinstance(part, Content))
    calls = [part for part in parts if isinstance(part, CallStarted)]
    arguments = ["".join(p.text for p in parts if isinstance(p, Arguments) and p.index == call.index) for call in calls]
    assert parser.calls <= len(calls)
    return text, [(call.name, given) for call, given in zip(calls, arguments, strict=True)]


@pytest.mark.parametrize(
    ("text", "content", "names"),
    [
        (FIRST, "", ["a-b_1"]),
        (f"Well. {FIRST}", "Well.", ["a-b_1"]),
        (f"{FIRST}\n{SECOND}", "", ["a-b_1", "other"]),
        (f"{FIRST}{SECOND} done", " done", ["a-b_1", "other"]),
        ("plain < text <tool_ and > \n", "plain < text <tool_ and > \n", []),
        ("<tool_call> is a tag", "<tool_call> is a tag", []),
        ("<tool_call>" + "x" * 300 + SECOND, "<tool_call>" + "x" * 300, ["other"]),
        (
            '<tool_call>{"name": "x", "arguments": [1]}</tool_call>',
            '<tool_call>{"name": "x", "arguments": [1]}</tool_call>',
            [],
        ),
    ],
)
def test_a_text_has_the_same_calls_however_it_is_cut(text: str, content: str, names: list[str]) -> None:
    cuts = [[text], list(text)]
    for seed in range(50):
        randomness = random.Random(seed)
        borders = sorted(randomness.sample(range(1, len(text)), k=min(6, len(text) - 1)))
        cuts.append([text[a:b] for a, b in zip([0, *borders], [*borders, len(text)], strict=True)])
    for pieces in cuts:
        found, calls = parsed(pieces)
        assert found == content
        assert [name for name, _ in calls] == names
        assert all(isinstance(json.loads(arguments), dict) for _, arguments in calls)


def test_arguments_are_what_was_written() -> None:
    assert parsed(list(FIRST))[1] == [("a-b_1", '{"x": "}]\\\\\\"{", "y": [{"z": null}]}')]


def test_a_call_that_is_cut_has_the_arguments_so_far() -> None:
    assert parsed([FIRST[:50]]) == ("", [("a-b_1", FIRST[:50].partition('"arguments": ')[2])])


def test_ids_differ_between_calls_and_choices_and_are_the_same_in_a_replay() -> None:
    def ids(answer: str, choice: int) -> list[str]:
        parts = ToolCallParser(answer, choice).feed(FIRST + SECOND)
        return [part.id for part in parts if isinstance(part, CallStarted)]

    assert ids("x", 0) == ids("x", 0)
    assert len({*ids("x", 0), *ids("x", 1), *ids("y", 0)}) == 6
