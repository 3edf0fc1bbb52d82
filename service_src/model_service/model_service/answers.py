"""An answer in both of its forms, one body or a stream of chunks, from the same parts."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

from model_service.engine import Finished
from model_service.schemas import AssistantMessage, ChatCompletion, Choice, Timings, Usage

Chunk = dict[str, Any]


class Header(BaseModel):
    """What all chunks of an answer share."""

    id: str
    created: int
    model: str


class Answer(BaseModel):
    """A complete answer. ``deltas`` are the pieces that a stream sends, so a replay sends the same."""

    header: Header
    deltas: list[str]
    finish_reason: Literal["stop", "length"]
    usage: Usage
    timings: Timings

    def completion(self) -> ChatCompletion:
        message = AssistantMessage(content="".join(self.deltas))
        return ChatCompletion(
            **self.header.model_dump(),
            choices=[Choice(message=message, finish_reason=self.finish_reason)],
            usage=self.usage,
            timings=self.timings,
        )

    def chunks(self, include_usage: bool) -> Iterator[Chunk]:
        """All chunks of the answer as a stream."""
        yield first_chunk(self.header)
        for text in self.deltas:
            yield text_chunk(self.header, text)
        yield from self.last_chunks(include_usage)

    def last_chunks(self, include_usage: bool) -> Iterator[Chunk]:
        yield _chunk(self.header, {}, self.finish_reason)
        if include_usage:
            yield {
                **_chunk_head(self.header),
                "choices": [],
                "usage": self.usage.model_dump(),
                "timings": self.timings.model_dump(),
            }


def new_header(model: str) -> Header:
    return Header(id=f"chatcmpl-{uuid.uuid4().hex}", created=int(time.time()), model=model)


def answer_of(header: Header, deltas: list[str], end: Finished) -> Answer:
    seconds = end.generation_seconds
    # The first token's time belongs to the prompt, so the rate is that of the ones after it.
    rate = (end.generated_tokens - 1) / seconds if seconds > 0 else 0.0
    return Answer(
        header=header,
        deltas=deltas,
        finish_reason=end.reason,
        usage=Usage(
            prompt_tokens=end.prompt_tokens,
            completion_tokens=end.generated_tokens,
            total_tokens=end.prompt_tokens + end.generated_tokens,
        ),
        timings=Timings(
            prompt_n=end.prompt_tokens,
            prompt_ms=round(end.prompt_seconds * 1000, 3),
            predicted_n=end.generated_tokens,
            predicted_ms=round(seconds * 1000, 3),
            predicted_per_second=round(rate, 3),
        ),
    )


def first_chunk(header: Header) -> Chunk:
    return _chunk(header, {"role": "assistant", "content": ""})


def text_chunk(header: Header, text: str) -> Chunk:
    return _chunk(header, {"content": text})


def _chunk(header: Header, delta: dict[str, str], finish_reason: str | None = None) -> Chunk:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
    return {**_chunk_head(header), "choices": [choice]}


def _chunk_head(header: Header) -> Chunk:
    return {
        "id": header.id,
        "object": "chat.completion.chunk",
        "created": header.created,
        "model": header.model,
    }
