"""The model's chat template, rendered in a sandbox: it comes with the model, so it is not trusted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment


class TemplateError(Exception):
    """The template can't be used, or broke on these messages; ``refused`` when it said so itself."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class _Refusal(Exception):
    pass


class ChatTemplate:
    """Renders messages to a prompt as Hugging Face's ``apply_chat_template`` does."""

    def __init__(self, source: str, bos_text: str, eos_text: str) -> None:
        self.digest = hashlib.sha256(source.encode()).hexdigest()
        self._tokens = {"bos_token": bos_text, "eos_token": eos_text}
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.filters["tojson"] = _to_json
        environment.globals["raise_exception"] = _raise_exception
        environment.globals["strftime_now"] = _strftime_now
        try:
            self._template = environment.from_string(source)
        except jinja2.TemplateSyntaxError as error:
            message = f"The model's chat template has an error in line {error.lineno}: {error.message}"
            raise TemplateError(message) from error

    def render(self, messages: Sequence[Mapping[str, str]]) -> str:
        """The prompt, up to where the assistant's answer begins."""
        try:
            return self._template.render(messages=messages, add_generation_prompt=True, **self._tokens)
        except _Refusal as refusal:
            raise TemplateError(f"The model's chat template: {refusal}", refused=True) from refusal
        except Exception as error:  # it is the model's code: it may raise whatever it likes
            message = f"The model's chat template failed: {type(error).__name__}: {error}"
            raise TemplateError(message) from error


def _raise_exception(message: str) -> None:
    raise _Refusal(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now(UTC).strftime(pattern)


def _to_json(value: Any, indent: int | None = None) -> str:
    # Jinja's own escapes <, > and & for HTML, which a model should not see.
    return json.dumps(value, ensure_ascii=False, indent=indent)
