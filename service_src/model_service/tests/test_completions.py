"""The older completions API: its forms of prompts and its shapes of answers."""

from __future__ import annotations

import json
from dataclasses import replace

import httpx
import pytest
from fake_engine import FakeEngine, says
from support import MODEL

COMPLETIONS = "/v1/completions"


def body(**fields: object) -> dict[str, object]:
    return {"model": MODEL, "prompt": "Once", **fields}


@pytest.mark.parametrize(
    ("prompt", "prompts"),
    [
        ("Once", ["Once"]),
        (["Once", "Twice"], ["Once", "Twice"]),
        ([79, 110], [(79, 110)]),
        ([[79], [110, 99]], [(79,), (110, 99)]),
        ("", ["<s>"]),
    ],
)
def test_a_prompt_is_text_or_tokens_one_or_several(
    api: httpx.Client, fake: FakeEngine, prompt: object, prompts: list[object]
) -> None:
    response = api.post(COMPLETIONS, json=body(prompt=prompt))
    assert response.status_code == 200, response.text
    assert [request.prompt for request in fake.asked] == prompts
    answer = response.json()
    assert answer["object"] == "text_completion"
    assert answer["id"].startswith("cmpl-")
    expected = {"text": "Hello", "logprobs": None, "finish_reason": "stop"}
    assert answer["choices"] == [{"index": index, **expected} for index in range(len(prompts))]
    assert answer["usage"]["prompt_tokens"] == 10 * len(prompts)


def test_choices_of_several_prompts_are_in_their_order(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = lambda request: [f"{request.prompt}/{request.sampling.seed}"]
    answer = api.post(COMPLETIONS, json=body(prompt=["a", "b"], n=2, best_of=2, seed=3)).json()
    assert [choice["text"] for choice in answer["choices"]] == ["a/3", "a/4", "b/3", "b/4"]
    assert answer["usage"]["prompt_tokens"] == 20


@pytest.mark.parametrize(
    ("fields", "named"), [({"n": 7}, "n"), ({"prompt": ["a"] * 7}, "prompt")], ids=["n", "prompts"]
)
def test_more_answers_than_the_engine_takes_at_once_are_refused(
    api: httpx.Client, fake: FakeEngine, monkeypatch: pytest.MonkeyPatch, fields: dict[str, object], named: str
) -> None:
    monkeypatch.setattr(fake, "facts", replace(fake.facts, capacity=6))
    response = api.post(COMPLETIONS, json=body(**fields))
    assert response.status_code == 400
    assert response.json()["error"]["param"] == named
    assert "7 answers, and 6 is the most" in response.json()["error"]["message"]
    assert api.post(COMPLETIONS, json=body(n=6)).status_code == 200


def test_an_answer_is_16_tokens_unless_asked(api: httpx.Client, fake: FakeEngine) -> None:
    api.post(COMPLETIONS, json=body())
    api.post(COMPLETIONS, json=body(max_tokens=None))
    assert [request.max_tokens for request in fake.asked] == [16, None]


@pytest.mark.parametrize(("prompt", "echoed"), [("Once", "Once"), ([79, 110], "On")])
@pytest.mark.parametrize("stream", [False, True])
def test_echo_sends_the_prompt_first(
    api: httpx.Client, fake: FakeEngine, prompt: object, echoed: str, stream: bool
) -> None:
    response = api.post(COMPLETIONS, json=body(prompt=prompt, echo=True, stream=stream))
    if stream:
        lines = [line.removeprefix("data: ") for line in response.text.splitlines() if line][:-1]
        text = "".join(json.loads(line)["choices"][0]["text"] for line in lines)
    else:
        text = response.json()["choices"][0]["text"]
    assert text == f"{echoed}Hello"


def test_logprobs_have_the_older_shape(api: httpx.Client, fake: FakeEngine) -> None:
    fake.script = says("é", "", "b")
    logprobs = api.post(COMPLETIONS, json=body(logprobs=2)).json()["choices"][0]["logprobs"]
    assert fake.asked[0].top_logprobs == 2
    assert logprobs["tokens"] == ["é", "", "b"]
    assert logprobs["token_logprobs"] == [-0.5, -0.5, -0.5]
    assert logprobs["text_offset"] == [0, 1, 1]
    assert logprobs["top_logprobs"][0] == {"x0": -1.0, "x1": -2.0}


def test_a_stream_has_chunks_of_text_and_usage_at_its_end(api: httpx.Client, fake: FakeEngine) -> None:
    response = api.post(COMPLETIONS, json=body(stream=True, stream_options={"include_usage": True}, logprobs=0))
    *data, done = [line.removeprefix("data: ") for line in response.text.splitlines() if line]
    assert done == "[DONE]"
    *chunks, usage = [json.loads(line) for line in data]
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["", "Hel", "lo", ""]
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks] == [None, None, None, "stop"]
    assert chunks[2]["choices"][0]["logprobs"]["text_offset"] == [3]
    assert {chunk["object"] for chunk in chunks} == {"text_completion"}
    assert (usage["choices"], usage["usage"]["completion_tokens"]) == ([], 2)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": None}, "prompt.0.text"),
        ({"prompt": [[]]}, "prompt.0.tokens"),
        ({"prompt": [-1]}, "prompt.0.tokens.0"),
        ({"prompt": ["x"] * 65}, "prompt"),
        ({"prompt": ["x"] * 64, "n": 3}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt.1.text"),
        ({"logprobs": 6}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
        ({"echo": True, "logprobs": 1}, "echo"),
        ({"echo": True, "prompt": [5000]}, "prompt"),
        ({"tools": [{}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_logprobs": 1}, "top_logprobs"),
    ],
    ids=str,
)
def test_what_cannot_be_served_is_refused_by_name(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], param: str
) -> None:
    response = api.post(COMPLETIONS, json=body(**fields))
    assert response.status_code == 400, response.text
    assert response.json()["error"]["param"] == param
    assert fake.asked == []
