"""A chat completion in both of its forms, one body or a stream of chunks, from the same events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from model_service import sse
from model_service.answers import Answer, Choice, Header, choices_of, logprobs_of, timings_of, usage_of
from model_service.engine import Delta, Finished, Started
from model_service.merge import Batch
from model_service.tool_parser import Arguments, CallStarted, Content, Part, ToolCallParser


@dataclass(frozen=True, slots=True)
class ChatOptions:
    """What the request says of its answer's form: whether to look for tool calls, to send logprobs and usage."""

    has_tools: bool
    has_logprobs: bool
    include_usage: bool


def chat_completion(answer: Answer, options: ChatOptions) -> dict[str, Any]:
    """The body of a whole answer."""
    choices = choices_of(answer.events)
    ends = [choice.end for choice in choices]
    return {
        **answer.header.model_dump(),
        "object": "chat.completion",
        "choices": [_choice(answer.header, index, choice, options) for index, choice in enumerate(choices)],
        "usage": usage_of(ends, answer.n).model_dump(),
        "timings": timings_of(ends, answer.n).model_dump(),
    }


def _choice(header: Header, index: int, choice: Choice, options: ChatOptions) -> dict[str, Any]:
    content, calls = choice.text, []
    if options.has_tools:
        parser = ToolCallParser(header.id, index)
        parts = [*parser.feed(choice.text), *parser.finish()]
        content = "".join(part.text for part in parts if isinstance(part, Content))
        calls = [_whole_call(part, parts) for part in parts if isinstance(part, CallStarted)]
    message: dict[str, Any] = {"role": "assistant", "content": content or None if calls else content, "refusal": None}
    if calls:
        message["tool_calls"] = calls
    return {
        "index": index,
        "message": message,
        "logprobs": _logprobs(choice.deltas) if options.has_logprobs else None,
        "finish_reason": _finish_reason(choice.end, bool(calls)),
    }


def _whole_call(call: CallStarted, parts: Sequence[Part]) -> dict[str, Any]:
    arguments = "".join(part.text for part in parts if isinstance(part, Arguments) and part.index == call.index)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


class ChatStream:
    """The chunks of an answer, as its events come."""

    def __init__(self, header: Header, n: int, choices: int, options: ChatOptions) -> None:
        self._n = n
        self._options = options
        self._head = {
            "id": header.id,
            "object": "chat.completion.chunk",
            "created": header.created,
            "model": header.model,
        }
        # Most chunks of most streams are these.
        self._texts = [sse.TextEvent(self._chunk(index, {"content": sse.TextEvent.TEXT})) for index in range(choices)]
        self._parsers = [ToolCallParser(header.id, index) for index in range(choices)] if options.has_tools else None
        self._is_plain = not (options.has_tools or options.has_logprobs)

    def encode(self, batch: Batch) -> bytes:
        """The chunks of these events."""
        chunks: list[str] = []
        for index, event in batch:
            if isinstance(event, Delta):
                if not self._is_plain:
                    self._add_delta(chunks, index, event)
                elif event.text:
                    chunks.append(self._texts[index].encode(event.text))
            elif isinstance(event, Started):
                first = {"role": "assistant", "content": None if self._options.has_tools else ""}
                chunks.append(sse.event(self._chunk(index, first)))
            else:
                self._add_end(chunks, index, event)
        return "".join(chunks).encode()

    def end(self, ends: list[Finished]) -> bytes:
        """What follows the chunks of all choices."""
        if not self._options.include_usage:
            return sse.DONE
        usage, timings = usage_of(ends, self._n).model_dump(), timings_of(ends, self._n).model_dump()
        return sse.event({**self._head, "choices": [], "usage": usage, "timings": timings}).encode() + sse.DONE

    def error(self, body: Mapping[str, Any]) -> bytes:
        """The last event, where an error ends the stream."""
        return sse.event(body).encode()

    def _add_delta(self, chunks: list[str], index: int, delta: Delta) -> None:
        parts = [Content(delta.text)] if delta.text else []
        deltas = self._deltas(self._parsers[index].feed(delta.text) if self._parsers else parts)
        logprobs = _logprobs([delta]) if self._options.has_logprobs else None
        if logprobs is not None and not deltas:
            deltas = [{}]  # the token has no text of its own, yet logprobs
        for each in deltas:
            chunks.append(sse.event(self._chunk(index, each, logprobs)))
            logprobs = None

    def _add_end(self, chunks: list[str], index: int, end: Finished) -> None:
        calls = 0
        if self._parsers:
            chunks += [sse.event(self._chunk(index, each)) for each in self._deltas(self._parsers[index].finish())]
            calls = self._parsers[index].calls
        chunks.append(sse.event(self._chunk(index, {}, finish_reason=_finish_reason(end, calls > 0))))

    @staticmethod
    def _deltas(parts: Sequence[Part]) -> list[dict[str, Any]]:
        deltas: list[dict[str, Any]] = []
        for part in parts:
            match part:
                case Content():
                    deltas.append({"content": part.text})
                case CallStarted():
                    function = {"name": part.name, "arguments": ""}
                    call = {"index": part.index, "id": part.id, "type": "function", "function": function}
                    deltas.append({"tool_calls": [call]})
                case Arguments():
                    deltas.append({"tool_calls": [{"index": part.index, "function": {"arguments": part.text}}]})
        return deltas

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        logprobs: dict[str, Any] | None = None,
        finish_reason: str | None = None,
    ) -> dict[str, Any]:
        choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish_reason}
        chunk = {**self._head, "choices": [choice]}
        return chunk | {"usage": None} if self._options.include_usage else chunk


def _finish_reason(end: Finished, has_calls: bool) -> str:
    return "tool_calls" if has_calls and end.reason == "stop" else end.reason


def _logprobs(deltas: Sequence[Delta]) -> dict[str, Any]:
    return {"content": logprobs_of(deltas), "refusal": None}
