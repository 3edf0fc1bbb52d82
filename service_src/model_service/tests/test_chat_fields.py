"""What each field of a chat request asks of the engine; what can't be served is refused by name."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from fake_engine import FakeEngine
from serving import serving_fake
from support import ask

from model_service.engine import GenerationRequest, Sampling
from model_service.tool_calls import TRIGGER

CHAT = "/v1/chat/completions"
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
OTHER_TOOL = {"type": "function", "function": {"name": "other"}}
DEEP: dict[str, Any] = {}
for _ in range(200):
    DEEP = {"type": "array", "items": DEEP}


def asked(api: httpx.Client, fake: FakeEngine, **fields: object) -> GenerationRequest:
    response = api.post(CHAT, json=ask(**fields))
    assert response.status_code == 200, response.text
    return fake.asked[-1]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("temperature", 0.0),
        ("top_p", 0.5),
        ("top_k", 3),
        ("min_p", 0.2),
        ("presence_penalty", 1.5),
        ("frequency_penalty", -1.5),
        ("seed", 7),
        ("ignore_eos", True),
    ],
)
def test_a_field_of_sampling_reaches_the_engine(api: httpx.Client, fake: FakeEngine, field: str, value: object) -> None:
    assert getattr(asked(api, fake, **{field: value}).sampling, field) == value


def test_what_is_not_given_is_the_engines_default(api: httpx.Client, fake: FakeEngine) -> None:
    assert asked(api, fake).sampling == Sampling()


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_answers_length_is_limited_under_both_names(api: httpx.Client, fake: FakeEngine, field: str) -> None:
    assert asked(api, fake, **{"max_tokens": None, field: 3}).max_tokens == 3


def test_no_likeliest_tokens_are_nothing_to_ask_for(api: httpx.Client, fake: FakeEngine) -> None:
    assert asked(api, fake, top_logprobs=0).top_logprobs is None


def test_biases_are_by_token(api: httpx.Client, fake: FakeEngine) -> None:
    assert asked(api, fake, logit_bias={"12": -100, "3": 1.5}).sampling.logit_bias == ((3, 1.5), (12, -100.0))


@pytest.mark.parametrize(
    ("fields", "top"), [({}, None), ({"logprobs": True}, 0), ({"logprobs": True, "top_logprobs": 20}, 20)]
)
def test_logprobs_are_computed_where_they_are_asked_for(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], top: int | None
) -> None:
    assert asked(api, fake, **fields).top_logprobs == top


def test_each_choice_has_a_seed_of_its_own(api: httpx.Client, fake: FakeEngine) -> None:
    answer = api.post(CHAT, json=ask(n=3, seed=2**63 - 2)).json()
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert [request.sampling.seed for request in fake.asked] == [2**63 - 2, 2**63 - 1, -(2**63)]
    assert len({request.prompt for request in fake.asked}) == 1


def test_choices_without_a_seed_have_none(api: httpx.Client, fake: FakeEngine) -> None:
    api.post(CHAT, json=ask(n=2))
    assert [request.sampling.seed for request in fake.asked] == [None, None]


@pytest.mark.parametrize(
    ("tier", "priority"),
    [(None, "interactive"), ("auto", "interactive"), ("priority", "interactive"), ("flex", "batch")],
)
def test_the_flexible_tier_is_the_one_that_waits(
    api: httpx.Client, fake: FakeEngine, tier: str | None, priority: str
) -> None:
    assert asked(api, fake, service_tier=tier).priority == priority


def test_a_prompt_counts_once_whatever_its_choices(api: httpx.Client, fake: FakeEngine) -> None:
    usage = api.post(CHAT, json=ask(n=3)).json()["usage"]
    assert usage == {
        "prompt_tokens": 10,
        "completion_tokens": 6,
        "total_tokens": 16,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def test_a_grammar_reaches_the_engine_as_it_is(api: httpx.Client, fake: FakeEngine) -> None:
    grammar = 'root ::= "yes" | "no"'
    assert asked(api, fake, grammar=grammar).sampling.grammar == grammar


@pytest.mark.parametrize(
    "response_format",
    [
        {"type": "json_object"},
        {"type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": {"type": "object"}}},
        {"type": "json_schema", "json_schema": {"name": "x"}},
    ],
)
def test_a_format_is_a_grammar_from_the_first_token_on(
    api: httpx.Client, fake: FakeEngine, response_format: dict[str, object]
) -> None:
    sampling = asked(api, fake, response_format=response_format).sampling
    assert sampling.grammar is not None
    assert sampling.grammar.startswith("root ::=")
    assert sampling.grammar_trigger is None


def test_the_format_text_asks_for_nothing(api: httpx.Client, fake: FakeEngine) -> None:
    assert asked(api, fake, response_format={"type": "text"}).sampling.grammar is None


@pytest.mark.parametrize(
    ("choice", "trigger", "tools"),
    [
        (None, TRIGGER, {"look_up", "other"}),
        ("auto", TRIGGER, {"look_up", "other"}),
        ("required", None, {"look_up", "other"}),
        ({"type": "function", "function": {"name": "other"}}, None, {"other"}),
        ("none", None, set()),
    ],
)
def test_a_tool_choice_says_which_calls_the_grammar_has_and_when_it_begins(
    api: httpx.Client, fake: FakeEngine, choice: object, trigger: str | None, tools: set[str]
) -> None:
    request = asked(api, fake, tools=[TOOL, OTHER_TOOL], tool_choice=choice)
    grammar = request.sampling.grammar or ""
    # Without their first letters, where the two part.
    assert {name for name in ("look_up", "other") if name[1:] in grammar.replace("\\x5F", "_")} == tools
    assert request.sampling.grammar_trigger == trigger
    assert ("<tools>" in str(request.prompt)) == bool(tools)


@pytest.mark.parametrize(("parallel", "calls"), [(None, True), (True, True), (False, False)])
def test_parallel_calls_can_be_turned_off(
    api: httpx.Client, fake: FakeEngine, parallel: bool | None, calls: bool
) -> None:
    grammar = asked(api, fake, tools=[TOOL], parallel_tool_calls=parallel).sampling.grammar
    assert grammar is not None
    assert grammar.splitlines()[0].endswith("}") == calls


def test_calls_and_results_in_the_history_are_in_the_prompt(api: httpx.Client, fake: FakeEngine) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call, {**call, "id": "call_2"}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
        {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "two"}]},
    ]
    prompt = asked(api, fake, messages=messages, tools=[TOOL]).prompt
    assert isinstance(prompt, str)
    assert prompt.startswith("[system]Be brief.\n\n# Tools")
    called = '<tool_call>\n{"name": "look_up", "arguments": {"a": 1}}\n</tool_call>'
    assert f"[assistant]{called}\n{called}[user]" in prompt
    results = "".join(f"<tool_response>\n{text}\n</tool_response>\n" for text in ("one", "two")).strip()
    assert prompt.endswith(f"[user]{results}[assistant]")


def test_a_developers_message_is_a_systems_for_a_template_that_does_not_know_it(
    api: httpx.Client, fake: FakeEngine
) -> None:
    messages = [{"role": "developer", "content": "Be brief."}]
    assert asked(api, fake, messages=messages).prompt == "[system]Be brief.[assistant]"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 0}, "n"),
        ({"n": 129}, "n"),
        ({"logit_bias": {"1": 101}}, "logit_bias.1"),
        ({"logit_bias": {"-1": 1}}, "logit_bias.-1.[key]"),
        ({"logit_bias": {"a": 1}}, "logit_bias.a.[key]"),
        ({"logit_bias": {"1000": 1}}, "logit_bias"),
        ({"top_logprobs": 1}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages.0.content"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"service_tier": "scale"}, "service_tier"),
        ({"max_tokens": 5, "max_completion_tokens": 5}, "max_completion_tokens"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream": True, "stream_options": {"colour": 1}}, "stream_options"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
            "response_format.json_schema.name",
        ),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"not": {}}}}},
            "response_format",
        ),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": DEEP}}}, "response_format"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"tools": [{"type": "custom", "custom": {"name": "x"}}]}, "tools.0.type"),
        ({"tools": [TOOL, TOOL]}, "tools"),
        ({"tools": [{"type": "function", "function": {"name": "a b"}}]}, "tools.0.function.name"),
        (
            {"tools": [TOOL, {"type": "function", "function": {"name": "x", "parameters": {"$ref": "https://x"}}}]},
            "tools.1.function.parameters",
        ),
        (
            {"tools": [{"type": "function", "function": {"name": "x", "parameters": {"type": "string"}}}]},
            "tools.0.function.parameters",
        ),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": "some"}, "tool_choice.type"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "no"}}}, "tool_choice"),
        ({"grammar": "(" * 2000}, "grammar"),
        ({"grammar": "root ::= " + '"a"{2000} ' * 20}, "grammar"),
        ({"grammar": "root ::= " + "x " * 2000 + '\nx ::= "a" | ""'}, "grammar"),
        ({"grammar": "root ::= x*\nx ::= " + " | ".join(["[a-z]"] * 3000)}, "grammar"),
        ({"grammar": 'root ::= "\0"'}, "grammar"),
        ({"grammar": 'root ::= "a"', "response_format": {"type": "json_object"}}, "grammar"),
        ({"tools": [TOOL], "response_format": {"type": "json_object"}}, "response_format"),
        ({"grammar": 'root ::= "a"', "ignore_eos": True}, "ignore_eos"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages.0"),
        ({"messages": [{"role": "tool", "content": "x", "tool_call_id": "call_1"}]}, "messages"),
        ({"messages": [{"role": "user", "content": "x", "tool_calls": [{}]}]}, "messages.0.tool_calls.0.id"),
        ({"functions": [{"name": "x"}]}, "functions"),
        ({"reasoning_effort": "high"}, "reasoning_effort"),
        ({"best_of": 2}, "best_of"),
        ({"priority": "batch"}, "priority"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_served_is_refused_by_name(
    api: httpx.Client, fake: FakeEngine, fields: dict[str, object], param: str
) -> None:
    response = api.post(CHAT, json=ask(**fields))
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    assert (error["type"], error["param"]) == ("invalid_request_error", param)
    assert param.split(".")[0] in error["message"]
    assert fake.asked == []


NATIVE_TEMPLATE = (
    "{% if tools %}<tools>{% for t in tools %}{{ t.function.name }} {% endfor %}</tools>{% endif %}"
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}"
    "{% for c in m.tool_calls or [] %}<tool_call>{{ c.function.name }}:{{ c.function.arguments.a }}</tool_call>"
    "{% endfor %}"
    "{% endfor %}"
)


def test_a_template_that_speaks_of_tool_calls_gets_tools_and_calls_as_they_are() -> None:
    engine = FakeEngine(chat_template=NATIVE_TEMPLATE)
    call = {"id": "call_1", "type": "function", "function": {"name": "look_up", "arguments": '{"a": 17}'}}
    messages = [
        {"role": "user", "content": "Hi", "name": "Ann"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "one"},
    ]
    with serving_fake(engine) as url:
        response = httpx.post(f"{url}{CHAT}", json=ask(messages=messages, tools=[TOOL]))
    assert response.status_code == 200, response.text
    prompt = "<tools>look_up </tools>[user]Hi[assistant]<tool_call>look_up:17</tool_call>[tool]one"
    assert engine.asked[0].prompt == prompt


def test_the_apis_are_described(api: httpx.Client) -> None:
    described = api.get("/openapi.json").json()
    for path in (CHAT, "/v1/completions", "/tokenize", "/detokenize", "/slots"):
        assert path in described["paths"]
    fields = described["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"n", "logit_bias", "tools", "response_format", "grammar", "service_tier"} <= set(fields)
