"""An answer as the engine's events: what is kept in the cache, and what each API makes its own form of."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from model_service.engine import Delta, Finished, Started, TokenLogprob
from model_service.merge import Batch
from model_service.schemas.common import PromptTokensDetails, Timings, Usage

# JSON has no infinity; OpenAI's own answers have this for what can't be.
LEAST_LOGPROB = -9999.0


class Header(BaseModel):
    """What all chunks of an answer share."""

    id: str
    created: int
    model: str


class Answer(BaseModel):
    """A complete answer: its events in their order, each with its choice, so a replay is what was sent the first time.

    The choices ``i * n`` to ``i * n + n - 1`` are those of prompt ``i``.
    """

    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    header: Header
    n: int
    events: list[tuple[int, Started | Delta | Finished]]


def new_header(prefix: str, model: str) -> Header:
    return Header(id=f"{prefix}{uuid.uuid4().hex}", created=int(time.time()), model=model)


@dataclass(slots=True)
class Choice:
    """All of one choice's events."""

    deltas: list[Delta]
    end: Finished

    @property
    def text(self) -> str:
        return "".join(delta.text for delta in self.deltas)


def choices_of(events: Batch) -> list[Choice]:
    """The whole choices of an answer, in order."""
    ends = {index: event for index, event in events if isinstance(event, Finished)}
    deltas: dict[int, list[Delta]] = {index: [] for index in ends}
    for index, event in events:
        if isinstance(event, Delta):
            deltas[index].append(event)
    return [Choice(deltas[index], ends[index]) for index in sorted(ends)]


def usage_of(ends: Sequence[Finished], n: int) -> Usage:
    """Each prompt counts once. Of its choices, the one that found least in the cache computed it."""
    prompt = sum(end.prompt_tokens for end in ends[::n])
    completion = sum(end.generated_tokens for end in ends)
    cached = sum(min(end.cached_tokens for end in ends[at : at + n]) for at in range(0, len(ends), n))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        total_tokens=prompt + completion,
        prompt_tokens_details=PromptTokensDetails(cached_tokens=cached),
    )


def timings_of(ends: Sequence[Finished], n: int) -> Timings:
    """Choices are computed side by side: their tokens add up, and the slowest one's time is that of all."""
    seconds = max(end.generation_seconds for end in ends)
    generated = sum(end.generated_tokens for end in ends)
    # The first token's time belongs to the prompt, so the rate is that of the ones after it.
    rate = (generated - len(ends)) / seconds if seconds > 0 else 0.0
    return Timings(
        prompt_n=sum(end.prompt_tokens for end in ends[::n]),
        prompt_ms=round(max(end.prompt_seconds for end in ends) * 1000, 3),
        predicted_n=generated,
        predicted_ms=round(seconds * 1000, 3),
        predicted_per_second=round(rate, 3),
    )


def logprobs_of(deltas: Sequence[Delta]) -> list[dict[str, Any]]:
    """Of each of the tokens and the likeliest in its place, in the form of OpenAI's newer APIs."""
    return [
        {**_logprob(each.chosen), "top_logprobs": [_logprob(top) for top in each.top]}
        for each in (delta.logprobs for delta in deltas)
        if each is not None
    ]


def _logprob(token: TokenLogprob) -> dict[str, Any]:
    return {
        "token": token.piece.decode(errors="replace"),
        "logprob": max(LEAST_LOGPROB, token.logprob),
        "bytes": list(token.piece),
    }
