"""Server-sent events: how an answer goes over the wire as it grows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from json.encoder import encode_basestring, encode_basestring_ascii
from typing import Any, Protocol

from model_service.engine import Finished
from model_service.merge import Batch

KEEP_ALIVE = b": keep-alive\n\n"
DONE = b"data: [DONE]\n\n"
_PLACE = "\x00text\x00"  # no text of a template of an event


class StreamForm(Protocol):
    """Turns events into one API's server-sent events."""

    def encode(self, batch: Batch) -> bytes:
        """All that these events make, in one piece."""

    def end(self, ends: list[Finished]) -> bytes:
        """What comes after the last event of all choices."""

    def error(self, body: Mapping[str, Any]) -> bytes:
        """What comes last where an error, in OpenAI's form, ends the stream."""


class TextEvent:
    """Events that differ in one text: the rest is encoded once, as it would cost most of a token's time each time."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        """``data`` holds ``TextEvent.TEXT`` where the text goes."""
        head, tail = _dump(data).split(json.dumps(_PLACE))
        self._head, self._tail = f"data: {head}", f"{tail}\n\n"

    TEXT = _PLACE

    def encode(self, text: str) -> str:
        return self._head + _encoded(text) + self._tail


class NumberedTextEvent:
    """Events with a name, which differ in one text and in their number."""

    def __init__(self, name: str, data: Mapping[str, Any]) -> None:
        """``data`` is all but ``type``, which is the name, ``delta``, the text, and ``sequence_number``."""
        self._head = f"event: {name}\ndata: {_dump({'type': name, **data})[:-1]},"

    def encode(self, number: int, text: str) -> str:
        return f'{self._head}"sequence_number":{number},"delta":{_encoded(text)}}}\n\n'


def event(data: Mapping[str, Any]) -> str:
    return f"data: {_dump(data)}\n\n"


def named_event(name: str, data: Mapping[str, Any]) -> str:
    return f"event: {name}\ndata: {_dump({'type': name, **data})}\n\n"


def _encoded(text: str) -> str:
    # Some clients take more characters than the standard does for the end of a line; none of them is printable.
    return encode_basestring(text) if text.isprintable() else encode_basestring_ascii(text)


def _dump(data: Mapping[str, Any]) -> str:
    return json.dumps(data, separators=(",", ":"))
