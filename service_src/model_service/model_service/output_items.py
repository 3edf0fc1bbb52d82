"""What a response is made of: messages and calls in the order in which they were written."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from model_service.answers import logprobs_of
from model_service.engine import Delta, Finished
from model_service.tool_parser import Arguments, CallStarted, Content, Part, ToolCallParser

NO_TEXT: dict[str, Any] = {"type": "output_text", "annotations": [], "logprobs": [], "text": ""}


@dataclass(slots=True)
class MessageItem:
    """Text, as one part; ``beginning`` is what there is to say before it."""

    index: int
    id: str
    status: str = "in_progress"
    texts: list[str] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def part(self) -> dict[str, Any]:
        return {**NO_TEXT, "logprobs": self.logprobs, "text": self.text}

    @property
    def beginning(self) -> dict[str, Any]:
        return {**self.described, "status": "in_progress", "content": []}

    @property
    def described(self) -> dict[str, Any]:
        parts = [self.part]
        return {"id": self.id, "type": "message", "status": self.status, "role": "assistant", "content": parts}


@dataclass(slots=True)
class CallItem:
    """A function call, likewise."""

    index: int
    id: str
    call_id: str
    name: str
    number: int
    status: str = "in_progress"
    texts: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def beginning(self) -> dict[str, Any]:
        return {**self.described, "status": "in_progress", "arguments": ""}

    @property
    def described(self) -> dict[str, Any]:
        called = {"call_id": self.call_id, "name": self.name, "arguments": self.text}
        return {"id": self.id, "type": "function_call", "status": self.status, **called}


Item = MessageItem | CallItem


@dataclass(frozen=True, slots=True)
class Change:
    """An item was opened, has grown by ``text``, or is done."""

    kind: Literal["opened", "grown", "done"]
    item: Item
    text: str = ""
    logprobs: tuple[dict[str, Any], ...] = ()


class OutputItems:
    """Grows with the answer's deltas; each tells what it changed."""

    def __init__(self, answer_id: str, *, has_tools: bool, has_logprobs: bool) -> None:
        # The same answer has the same ids, whether it is computed or replayed.
        self._ids = uuid.uuid5(uuid.NAMESPACE_OID, answer_id)
        self._parser = ToolCallParser(answer_id, 0) if has_tools else None
        self._has_logprobs = has_logprobs
        self._open: Item | None = None
        self.items: list[Item] = []

    def feed(self, delta: Delta) -> list[Change]:
        changes: list[Change] = []
        if self._parser is not None:
            self._add(changes, self._parser.feed(delta.text))
            if isinstance(self._open, CallItem) and self._parser.calls > self._open.number:
                self._end(changes, "completed")
        elif delta.text or self._has_logprobs:
            logprobs = tuple(logprobs_of([delta])) if self._has_logprobs else ()
            self._grow(changes, self._message(changes), delta.text, logprobs)
        return changes

    def finish(self, end: Finished) -> list[Change]:
        changes: list[Change] = []
        if self._parser is not None:
            self._add(changes, self._parser.finish())
        if not self.items:
            self._message(changes)  # an answer has an item, if only an empty one
        self._end(changes, "completed" if end.reason == "stop" else "incomplete")
        return changes

    def _add(self, changes: list[Change], parts: list[Part]) -> None:
        for part in parts:
            match part:
                case Content():
                    self._grow(changes, self._message(changes), part.text)
                case CallStarted():
                    self._end(changes, "completed")
                    item_id = f"fc_{part.id.removeprefix('call_')}"
                    self._begin(changes, CallItem(len(self.items), item_id, part.id, part.name, part.index))
                case Arguments():
                    assert isinstance(self._open, CallItem)
                    self._grow(changes, self._open, part.text)

    def _message(self, changes: list[Change]) -> MessageItem:
        """The message that is being written, a new one if there is none."""
        if isinstance(self._open, MessageItem):
            return self._open
        self._end(changes, "completed")
        index = len(self.items)
        item = MessageItem(index, f"msg_{uuid.uuid5(self._ids, str(index)).hex}")
        self._begin(changes, item)
        return item

    def _begin(self, changes: list[Change], item: Item) -> None:
        self.items.append(item)
        self._open = item
        changes.append(Change("opened", item))

    @staticmethod
    def _grow(changes: list[Change], item: Item, text: str, logprobs: tuple[dict[str, Any], ...] = ()) -> None:
        item.texts.append(text)
        if isinstance(item, MessageItem):
            item.logprobs += logprobs
        changes.append(Change("grown", item, text, logprobs))

    def _end(self, changes: list[Change], status: str) -> None:
        if self._open is not None:
            self._open.status = status
            changes.append(Change("done", self._open))
            self._open = None
