"""From where a model begins a call of itself, there is only a valid call; a tag that is none stays text."""

from __future__ import annotations

import json

import jsonschema
import numpy
import pytest

from model_service.engine import Sampling
from model_service.llama.model import Model
from model_service.llama.sampler import Candidates, Sampler
from model_service.schemas.chat import FunctionDefinition
from model_service.tool_calls import CALL_END, CALL_START, TRIGGER, call_grammar
from model_service.tool_parser import Arguments, CallStarted, ToolCallParser

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 9}, "days": {"type": "integer", "minimum": 1, "maximum": 9}},
    "required": ["city", "days"],
}
LIKELY = 100.0


class Speaker:
    """Says what it is given, then whatever the grammar allows of random tokens."""

    def __init__(self, model: Model) -> None:
        self._model = model
        sampling = Sampling(
            temperature=0,
            grammar=call_grammar([(0, FunctionDefinition(name="get_weather", parameters=SCHEMA))], parallel=False),
            grammar_trigger=TRIGGER,
        )
        self._sampler = Sampler(sampling, model, 512, Candidates(model.vocab_size))
        self._randomness = numpy.random.default_rng(1)

    def say(self, token: int | None = None) -> int:
        logits = self._randomness.standard_normal(self._model.vocab_size).astype(numpy.float32)
        logits[list(self._model.end_tokens)] += 8
        if token is not None:
            logits[token] += LIKELY
        return self._sampler.choose(logits)

    def close(self) -> None:
        self._sampler.close()


@pytest.mark.parametrize("before", ["", "Let me see. ", "<tool_cal "])
@pytest.mark.parametrize("after", ["", "\n", "{", '{"', "\n{"])
def test_a_call_that_was_begun_is_valid(model: Model, before: str, after: str) -> None:
    speaker = Speaker(model)
    text = b""
    for token in model.tokenize(before + CALL_START + after, 500):
        assert speaker.say(int(token)) == token
        text += model.piece(int(token))
    for _ in range(200):
        token = speaker.say()
        if token in model.end_tokens:
            break
        text += model.piece(token)
    speaker.close()
    parser = ToolCallParser("chatcmpl-1", 0)
    parts = [*parser.feed(text.decode()), *parser.finish()]
    assert [part.name for part in parts if isinstance(part, CallStarted)] == ["get_weather"]
    arguments = "".join(part.text for part in parts if isinstance(part, Arguments))
    jsonschema.validate(json.loads(arguments), SCHEMA)
    assert text.decode().endswith(CALL_END) or text.decode().endswith(f"{CALL_END}\n")


def test_a_token_that_reaches_past_the_tag_harms_nothing(model: Model) -> None:
    pieces = {model.piece(token): token for token in range(model.vocab_size)}
    past = [token for piece, token in pieces.items() if piece.startswith(b">") and len(piece) > 1]
    assert past
    *tag, _ = model.tokenize(CALL_START, 500)
    for token in past:
        speaker = Speaker(model)
        for each in [*tag, token]:
            speaker.say(int(each))
        for _ in range(3):
            speaker.say()
        speaker.close()
