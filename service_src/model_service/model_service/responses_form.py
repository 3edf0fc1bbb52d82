"""A response in both of its forms, one body or a stream of named events, from the same events of the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from model_service import sse
from model_service.answers import Answer, Header, choices_of, timings_of, usage_of
from model_service.engine import Delta, Finished, Started
from model_service.merge import Batch
from model_service.output_items import NO_TEXT, CallItem, Change, Item, MessageItem, OutputItems

# OpenAI's types of errors, and the codes that a failed response has for them.
_CODES = {"rate_limit_error": "rate_limit_exceeded", "invalid_request_error": "invalid_prompt"}


@dataclass(frozen=True, slots=True)
class ResponseOptions:
    """What the request says of its answer's form; ``settings`` is what the answer repeats of it."""

    has_tools: bool
    has_logprobs: bool
    settings: Mapping[str, Any]


def response_body(answer: Answer, options: ResponseOptions) -> dict[str, Any]:
    """The body of a whole answer."""
    (choice,) = choices_of(answer.events)
    output = _items_of(answer.header, options)
    for delta in choice.deltas:
        output.feed(delta)
    output.finish(choice.end)
    return _ended(answer.header, options, output, choice.end)


class ResponseStream:
    """The events of an answer, as it grows."""

    def __init__(self, header: Header, options: ResponseOptions) -> None:
        self._header = header
        self._options = options
        self._output = _items_of(header, options)
        self._number = 0
        # Most events of most streams are these; they are made where an item begins.
        self._delta: sse.NumberedTextEvent | None = None

    def encode(self, batch: Batch) -> bytes:
        """The events of this batch."""
        events: list[str] = []
        for _, event in batch:
            if isinstance(event, Delta):
                self._add_changes(events, self._output.feed(event))
            elif isinstance(event, Started):
                self._begin(events)
            else:
                self._add_changes(events, self._output.finish(event))
        return "".join(events).encode()

    def end(self, ends: list[Finished]) -> bytes:
        """The last event, which has the whole answer."""
        response = _ended(self._header, self._options, self._output, ends[0])
        return self._event(f"response.{response['status']}", {"response": response}).encode()

    def error(self, body: Mapping[str, Any]) -> bytes:
        """The last event of a stream that an error ends, which has what was written until then."""
        events: list[str] = []
        if self._number == 0:
            self._begin(events)
        error = body["error"]
        failed = {
            "code": _CODES.get(error["type"], "server_error"),
            "message": error["message"],
            "param": error["param"],
        }
        items = [item.described for item in self._output.items if item.status != "in_progress"]
        response = _response(self._header, self._options, "failed", items) | {"error": failed}
        events.append(self._event("response.failed", {"response": response}))
        return "".join(events).encode()

    def _begin(self, events: list[str]) -> None:
        for name in ("response.created", "response.in_progress"):
            events.append(self._event(name, {"response": _response(self._header, self._options, "in_progress", [])}))

    def _add_changes(self, events: list[str], changes: list[Change]) -> None:
        for change in changes:
            if change.kind == "grown":
                events.append(self._grown(change))
            elif change.kind == "opened":
                self._open(events, change.item)
            else:
                self._close(events, change.item)

    def _grown(self, change: Change) -> str:
        if change.logprobs:
            place = self._part_of(change.item)
            return self._event(
                "response.output_text.delta", {**place, "delta": change.text, "logprobs": change.logprobs}
            )
        assert self._delta is not None
        number = self._number
        self._number += 1
        return self._delta.encode(number, change.text)

    def _open(self, events: list[str], item: Item) -> None:
        place = self._part_of(item)
        events.append(self._event("response.output_item.added", {"output_index": item.index, "item": item.beginning}))
        if isinstance(item, MessageItem):
            events.append(self._event("response.content_part.added", {**place, "part": NO_TEXT}))
            self._delta = sse.NumberedTextEvent("response.output_text.delta", {**place, "logprobs": []})
        else:
            self._delta = sse.NumberedTextEvent("response.function_call_arguments.delta", place)

    def _close(self, events: list[str], item: Item) -> None:
        place = self._part_of(item)
        if isinstance(item, CallItem):
            done = {**place, "name": item.name, "arguments": item.text}
            events.append(self._event("response.function_call_arguments.done", done))
        else:
            done = {**place, "text": item.text, "logprobs": item.logprobs}
            events.append(self._event("response.output_text.done", done))
            events.append(self._event("response.content_part.done", {**place, "part": item.part}))
        events.append(self._event("response.output_item.done", {"output_index": item.index, "item": item.described}))

    @staticmethod
    def _part_of(item: Item) -> dict[str, Any]:
        place = {"item_id": item.id, "output_index": item.index}
        return place if isinstance(item, CallItem) else {**place, "content_index": 0}

    def _event(self, name: str, data: Mapping[str, Any]) -> str:
        number = self._number
        self._number += 1
        return sse.named_event(name, {"sequence_number": number, **data})


def _items_of(header: Header, options: ResponseOptions) -> OutputItems:
    return OutputItems(header.id, has_tools=options.has_tools, has_logprobs=options.has_logprobs)


def _response(header: Header, options: ResponseOptions, status: str, output: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": header.id,
        "object": "response",
        "created_at": header.created,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": header.model,
        "output": output,
        "usage": None,
        **options.settings,
    }


def _ended(header: Header, options: ResponseOptions, output: OutputItems, end: Finished) -> dict[str, Any]:
    is_cut = end.reason == "length"
    items = [item.described for item in output.items]
    usage = usage_of([end], 1)
    return _response(header, options, "incomplete" if is_cut else "completed", items) | {
        "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
        "usage": {
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": {**usage.prompt_tokens_details.model_dump(), "cache_write_tokens": 0},
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage.total_tokens,
        },
        "timings": timings_of([end], 1).model_dump(),
    }
