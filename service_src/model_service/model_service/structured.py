"""What an answer has to look like, from the request: a grammar, and the field that asked for it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from model_service.engine import InvalidRequestError
from model_service.grammar import gbnf
from model_service.grammar.gbnf import Grammar, GrammarError
from model_service.grammar.json_schema import SchemaCompiler
from model_service.schemas.chat import ChatRequest, FunctionDefinition, ResponseFormat, Tool
from model_service.schemas.common import GenerationFields
from model_service.tool_calls import TRIGGER, ToolSchemaError, call_grammar

_KEPT_GRAMMARS = 64
_ANY_OBJECT: dict[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class Constraint:
    """``trigger`` as in the engine's Sampling; ``field`` is the one that asked, which errors name."""

    grammar: str | None = None
    trigger: str | None = None
    field: str = "grammar"


@dataclass(frozen=True, slots=True)
class FieldNames:
    """What an API calls the fields that errors name; ``parameters`` has a place for the tool's index."""

    prompt: str
    format: str
    parameters: str


CHAT_FIELDS = FieldNames("messages", "response_format", "tools.{}.function.parameters")


def constraint_of_text(request: GenerationFields) -> Constraint:
    """What the field ``grammar`` asks for; InvalidRequestError as for all of these."""
    if request.grammar is None:
        return Constraint()
    if request.ignore_eos:
        raise InvalidRequestError("ignore_eos", "ignore_eos can't go on where a grammar ends")
    try:
        gbnf.check(request.grammar)
    except GrammarError as error:
        raise InvalidRequestError("grammar", f"grammar: {error}") from error
    return Constraint(request.grammar)


def constraint_of_chat(request: ChatRequest, names: FieldNames = CHAT_FIELDS) -> Constraint:
    """What ``grammar``, ``response_format`` and ``tools`` ask for: at most one of them."""
    by_tools = callable_tools(request)
    by_format = request.response_format is not None and request.response_format.type != "text"
    asked = [
        *(["grammar"] if request.grammar is not None else []),
        *([names.format] if by_format else []),
        *(["tools"] if by_tools else []),
    ]
    if len(asked) > 1:
        raise InvalidRequestError(asked[0], f"{asked[0]} and {asked[1]} can't be given together")
    if asked and request.ignore_eos:
        raise InvalidRequestError("ignore_eos", f"ignore_eos can't go on where {asked[0]} ends the answer")
    if by_tools:
        return _of_tools(request, by_tools, names)
    if by_format:
        assert request.response_format is not None
        return _of_format(request.response_format, names.format)
    return constraint_of_text(request)


def callable_tools(request: ChatRequest) -> list[Tool]:
    """The tools that the answer may call; none where ``tool_choice`` says so."""
    choice = request.tool_choice
    return [] if choice is not None and choice.type == "none" else request.tools or []


def _of_format(response_format: ResponseFormat, field: str) -> Constraint:
    described = response_format.json_schema
    schema = _ANY_OBJECT if described is None or described.schema_ is None else described.schema_
    try:
        grammar = _grammar_of_schema(_canonical(schema))
    except (GrammarError, RecursionError) as error:
        raise InvalidRequestError(field, f"{field}: the schema can't be used: {error}") from error
    return Constraint(grammar, field=field)


def _of_tools(request: ChatRequest, tools: list[Tool], names: FieldNames) -> Constraint:
    choice = request.tool_choice
    called = choice.function.name if choice is not None and choice.function is not None else None
    functions = [
        (index, tool.function) for index, tool in enumerate(tools) if called is None or tool.function.name == called
    ]
    parallel = request.parallel_tool_calls is not False and called is None
    known = _canonical([[index, function.model_dump(by_alias=True)] for index, function in functions])
    try:
        grammar = _grammar_of_calls(known, parallel)
    except ToolSchemaError as error:
        field = names.parameters.format(error.index)
        raise InvalidRequestError(field, f"{field}: the schema can't be used: {error}") from error
    is_free = choice is None or choice.type == "auto"
    return Constraint(grammar, TRIGGER if is_free else None, "tools")


def _canonical(value: Any) -> str:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    except RecursionError as error:
        raise GrammarError("it is nested too deep") from error


# Clients send the same schema with each request.
@lru_cache(_KEPT_GRAMMARS)
def _grammar_of_schema(schema: str) -> str:
    grammar = Grammar()
    return grammar.text(SchemaCompiler(grammar, json.loads(schema)).compile())


@lru_cache(_KEPT_GRAMMARS)
def _grammar_of_calls(functions: str, parallel: bool) -> str:
    parsed = [(index, FunctionDefinition.model_validate(function)) for index, function in json.loads(functions)]
    return call_grammar(parsed, parallel)
