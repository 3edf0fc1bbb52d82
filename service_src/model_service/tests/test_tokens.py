"""llama-server's small APIs: texts to tokens and back, and what the slots do."""

from __future__ import annotations

import json
import threading

import httpx
import pytest
from fake_engine import FakeEngine, says
from support import MODEL, ask, wait_until


@pytest.mark.parametrize("named", [{}, {"model": MODEL}])
def test_a_texts_tokens_make_the_text_again(api: httpx.Client, named: dict[str, str]) -> None:
    tokens = api.post("/tokenize", json={"content": "Hi", **named}).json()
    assert tokens == {"tokens": [72, 105]}
    assert api.post("/detokenize", json={**tokens, **named}).json() == {"content": "Hi"}


def test_the_first_token_of_a_prompt_is_there_if_asked_for(api: httpx.Client) -> None:
    assert api.post("/tokenize", json={"content": "Hi", "add_special": True}).json() == {"tokens": [1, 72, 105]}


def test_tokens_can_come_with_their_texts(api: httpx.Client) -> None:
    pieces = api.post("/tokenize", json={"content": "Hi", "with_pieces": True}).json()["tokens"]
    assert pieces == [{"id": 72, "piece": "H"}, {"id": 105, "piece": "i"}]


@pytest.mark.parametrize(
    ("path", "fields", "param"),
    [
        ("/tokenize", {}, "content"),
        ("/tokenize", {"content": "x", "parse_special": False}, "parse_special"),
        ("/tokenize", {"content": "x", "colour": 1}, "colour"),
        ("/tokenize", {"content": "\ud83d"}, "content"),
        ("/detokenize", {"tokens": [-1]}, "tokens.0"),
        ("/detokenize", {"tokens": [5000]}, "tokens"),
        ("/detokenize", {"tokens": ["x"]}, "tokens.0"),
    ],
)
def test_what_cannot_be_served_is_refused_by_name(
    api: httpx.Client, path: str, fields: dict[str, object], param: str
) -> None:
    response = api.post(path, content=json.dumps(fields), headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["error"]["param"]) == (400, param)


def test_an_unknown_model_is_not_found(api: httpx.Client) -> None:
    for response in (
        api.post("/tokenize", json={"content": "x", "model": "gpt-x"}),
        api.get("/slots", params={"model": "gpt-x"}),
    ):
        assert (response.status_code, response.json()["error"]["code"]) == (404, "model_not_found")


def test_slots_say_what_they_do(api: httpx.Client, fake: FakeEngine) -> None:
    idle = {
        "id": 0,
        "model": MODEL,
        "is_processing": False,
        "state": "idle",
        **dict.fromkeys(("prompt_tokens", "computed_tokens", "generated_tokens"), 0),
    }
    assert api.get("/slots").json() == [idle]
    fake.script = says(1.0)
    thread = threading.Thread(target=httpx.post, args=(f"{api.base_url}/v1/chat/completions",), kwargs={"json": ask()})
    thread.start()
    wait_until(lambda: fake.running == 1)
    busy, other = api.get("/slots").json()
    thread.join()
    assert (busy["state"], busy["is_processing"], busy["generated_tokens"]) == ("decode", True, 2)
    assert other["state"] == "idle"
