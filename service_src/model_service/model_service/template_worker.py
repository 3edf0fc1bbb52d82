"""``python -m model_service.template_worker``: renders chat templates in a process that may be killed.

A template comes with the model, so it is not trusted. Here it has a sandbox, little memory, no environment, and
nothing that it could open: no file, no socket, no other process. Who started this process kills it when a
rendering takes too long.

On stdin and stdout go frames. A request is its length in four bytes, then JSON with ``source``, ``variables`` and
``limit``, the most bytes of the answer; the answer is a status of one byte, its length, and UTF-8. An empty
answer, before any request, says that it is ready.
"""

from __future__ import annotations

import json
import math
import os
import resource
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NoReturn

import jinja2
import jinja2.debug  # jinja2 itself imports it with the first error, when no file can be opened any more
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

LENGTH = struct.Struct(">I")
ANSWER_HEAD = struct.Struct(">cI")
RENDERED, REFUSED, FAILED = b"=", b"!", b"?"

_MEMORY_BYTES = 256 << 20
# Only for when nobody is left to kill it; the one who started it is quicker.
_CPU_SECONDS = 3
_KEPT_TEMPLATES = 64
_LONGEST_MESSAGE = 500


class _Refusal(Exception):
    pass


class _Generation(Extension):
    """``{% generation %}``, with which some templates mark what training should learn: here just its content."""

    tags = {"generation"}  # noqa: RUF012 - jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """What Hugging Face's ``apply_chat_template`` offers to templates."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    del environment.globals["lipsum"]
    return environment


def _raise_exception(message: str) -> NoReturn:
    raise _Refusal(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now(UTC).strftime(pattern)


def _to_json(value: Any, ensure_ascii: bool = False, indent: int | None = None, **options: Any) -> str:
    # Jinja's own escapes <, > and & for HTML, which a model should not see.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, **options)


class Templates:
    """Renders templates, and keeps the compiled ones."""

    def __init__(self) -> None:
        self._environment = _environment()
        self._compiled: dict[str, jinja2.Template] = {}

    def answer(self, request: bytes) -> tuple[bytes, bytes]:
        """Status and text."""
        try:
            asked = json.loads(request)
            return RENDERED, self._render(asked["source"], asked["variables"], asked["limit"])
        except _Refusal as refusal:
            return REFUSED, _message(str(refusal))
        except jinja2.TemplateSyntaxError as error:
            return FAILED, _message(f"has an error in line {error.lineno}: {error.message}")
        except Exception as error:  # it is the model's code: it may raise whatever it likes
            return FAILED, _message(f"failed: {type(error).__name__}: {error}")

    def _render(self, source: str, variables: dict[str, Any], limit: int) -> bytes:
        template = self._compiled.get(source)
        if template is None:
            template = self._environment.from_string(source)
            if len(self._compiled) >= _KEPT_TEMPLATES:
                self._compiled.clear()
            self._compiled[source] = template
        pieces, size = [], 0
        for piece in template.generate(variables):
            raw = piece.encode()
            size += len(raw)
            if size > limit:
                raise ValueError(f"its prompt is over {limit} bytes")
            pieces.append(raw)
        return b"".join(pieces)


def _message(text: str) -> bytes:
    return text[:_LONGEST_MESSAGE].encode(errors="replace")


def _lock_down() -> None:
    """Gives up what rendering doesn't need; there is no way back."""
    with open("/proc/self/oom_score_adj", "w") as score:
        score.write("1000")  # where memory runs out, this process is the one to go
    limits = {
        resource.RLIMIT_AS: _MEMORY_BYTES,
        resource.RLIMIT_NOFILE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
    }
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))


def _allow_more_cpu() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = math.ceil(used.ru_utime + used.ru_stime) + _CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))


def _read(count: int) -> bytes:
    """``count`` bytes of stdin, less at its end."""
    parts = []
    while count > 0 and (part := os.read(0, count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def serve(answer: Callable[[bytes], tuple[bytes, bytes]]) -> None:
    """Answers one request after the other until stdin ends."""
    _write(ANSWER_HEAD.pack(RENDERED, 0))
    while len(head := _read(LENGTH.size)) == LENGTH.size:
        _allow_more_cpu()
        status, text = answer(_read(LENGTH.unpack(head)[0]))
        _write(ANSWER_HEAD.pack(status, len(text)) + text)


def main() -> None:
    templates = Templates()
    # Python and jinja2 load some of their parts only when they are used.
    templates.answer(b'{"source": "{{ strftime_now(\'%Y\') | tojson }}{{ 1 // 0 }}", "variables": {}, "limit": 9}')
    _lock_down()
    serve(templates.answer)


if __name__ == "__main__":
    main()
