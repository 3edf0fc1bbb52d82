"""Tool calls out of an answer's text as it grows, piece by piece."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from model_service.tool_calls import CALL_END, CALL_START

# Exactly as the grammar has it: what is written otherwise, the grammar has not seen.
_HEAD = re.compile(r'\n?\{"name": "([A-Za-z0-9_-]{1,64})", "arguments": (?=\{)')
# As much as a head can be long: what is longer without being one is no call.
_LONGEST_HEAD = 120


@dataclass(frozen=True, slots=True)
class Content:
    """Text beside the calls."""

    text: str


@dataclass(frozen=True, slots=True)
class CallStarted:
    """A call; its arguments follow."""

    index: int
    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Arguments:
    """The next piece of a call's arguments."""

    index: int
    text: str


Part = Content | CallStarted | Arguments


class ToolCallParser:
    """Feed it an answer's text; what comes out can be sent at once. Text that is no whole call stays text."""

    def __init__(self, answer_id: str, choice: int) -> None:
        # The same answer has the same ids, whether it is computed or replayed.
        self._ids = uuid.uuid5(uuid.NAMESPACE_OID, f"{answer_id}/{choice}")
        self._held = ""
        self._state: Callable[[list[Part]], bool] = self._content
        self._depth = 0
        self._in_string = False
        self.calls = 0

    def feed(self, text: str) -> list[Part]:
        self._held += text
        parts: list[Part] = []
        while self._state(parts):
            pass
        return parts

    def finish(self) -> list[Part]:
        """What was held back; the answer has ended."""
        held, self._held = self._held, ""
        # After a call, and before the end of its tag, there is nothing left to tell.
        is_text = self._state in (self._content, self._head) and (self.calls == 0 or held.strip())
        return [Content(held)] if held and is_text else []

    def _content(self, parts: list[Part]) -> bool:
        start = self._held.find(CALL_START)
        if start >= 0:
            self._emit(parts, start, keep_space=False)
            self._state = self._head
            return True
        ready = len(self._held) - _overlap(self._held, CALL_START)
        # White space before and between calls belongs to no text.
        ready = len(self._held[:ready].rstrip())
        self._emit(parts, ready, keep_space=True)
        return False

    def _emit(self, parts: list[Part], end: int, *, keep_space: bool) -> None:
        text, self._held = self._held[:end], self._held[end:]
        text = text if keep_space else text.rstrip()
        if text:
            parts.append(Content(text))

    def _head(self, parts: list[Part]) -> bool:
        rest = self._held[len(CALL_START) :]
        found = _HEAD.match(rest)
        if found:
            digest = uuid.uuid5(self._ids, str(self.calls)).hex
            parts.append(CallStarted(self.calls, f"call_{digest}", found[1]))
            self._held = rest[found.end() :]
            self._depth, self._in_string = 0, False
            self._state = self._arguments
            return True
        if len(rest) > _LONGEST_HEAD:
            self._emit(parts, len(CALL_START), keep_space=True)
            self._state = self._content
            return True
        return False

    def _arguments(self, parts: list[Part]) -> bool:
        end = self._end_of_object()
        text = self._held if end is None else self._held[:end]
        # A backslash waits for what it escapes, so that each piece can be looked at by itself.
        if end is None and self._in_string and (len(text) - len(text.rstrip("\\"))) % 2:
            text = text[:-1]
        if text:
            parts.append(Arguments(self.calls, text))
        self._held = self._held[len(text) :]
        if end is None:
            return False
        self.calls += 1
        self._state = self._tail
        return True

    def _end_of_object(self) -> int | None:
        """Where the arguments' object ends in the held text, None if not in it."""
        at = 0
        for found in re.finditer(r'\\.|["{}\[\]]', self._held, re.DOTALL):
            character, at = found[0], found.end()
            if character == '"':
                self._in_string = not self._in_string
            elif not self._in_string and character in "{[":
                self._depth += 1
            elif not self._in_string and character in "}]":
                self._depth -= 1
                if self._depth == 0:
                    return at
        return None

    def _tail(self, _parts: list[Part]) -> bool:
        end = self._held.find(CALL_END)
        if end < 0:
            return False
        self._held = self._held[end + len(CALL_END) :]
        self._state = self._content
        return True


def _overlap(text: str, tag: str) -> int:
    """The length of the longest end of the text that the tag begins with."""
    return next((size for size in range(min(len(text), len(tag) - 1), 0, -1) if text.endswith(tag[:size])), 0)
