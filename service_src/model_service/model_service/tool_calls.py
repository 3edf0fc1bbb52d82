"""Tool calls in the form of Hermes and Qwen: how a model is told of its tools, and what its calls look like as text.

A template that speaks this form gets the tools as they are. For others a system message describes them, and calls
and results in the history become text.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from model_service.grammar.choices import text_choice
from model_service.grammar.gbnf import Grammar, GrammarError, literal
from model_service.grammar.json_schema import SchemaCompiler
from model_service.schemas.chat import FunctionDefinition, Message, Tool, ToolCall

# A small model that has begun to call may not stop by itself.
MAX_CALLS = 16
CALL_START, CALL_END = "<tool_call>", "</tool_call>"
# A token may reach past the tag: it counts only where that is how a call goes on, else the grammar could not follow.
TRIGGER = r'(<tool_call>\n?(\{"?)?)$'
_NO_ARGUMENTS: dict[str, Any] = {"type": "object", "properties": {}}

_INSTRUCTIONS = """\
# Tools

You may call one or more functions to assist with the user query.

You are provided with function signatures within <tools></tools> XML tags:
<tools>
{tools}
</tools>

For each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:
<tool_call>
{{"name": <function-name>, "arguments": <args-json-object>}}
</tool_call>"""


class ToolSchemaError(Exception):
    """The parameters of tool ``index`` can't be kept to."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index = index


def speaks_tool_calls(template: str) -> bool:
    """Whether a chat template brings tools and calls into this form itself."""
    return CALL_START in template and "tools" in template


def call_grammar(functions: Sequence[tuple[int, FunctionDefinition]], parallel: bool) -> str:
    """A grammar of one or, if ``parallel``, up to MAX_CALLS calls; functions with their place in the request."""
    grammar = Grammar()
    arguments: dict[str, str] = {}
    for index, function in functions:
        schema = _NO_ARGUMENTS if function.parameters is None else function.parameters
        if schema.get("type", "object") != "object":
            raise ToolSchemaError(index, "arguments are of the type object")
        try:
            arguments[function.name] = SchemaCompiler(grammar, {"type": "object", **schema}).compile()
        except GrammarError as error:
            raise ToolSchemaError(index, str(error)) from error
    newline = grammar.rule(r'"\n"?')
    body = text_choice(grammar, {_head(name): symbol for name, symbol in arguments.items()})
    call = grammar.rule(f'{literal(CALL_START)} {newline} {body} "}}" {newline} {literal(CALL_END)}')
    return grammar.text(f"{call} ({newline} {call}){{0,{MAX_CALLS - 1}}}" if parallel else call)


def _head(name: str) -> str:
    return f'{{"name": "{name}", "arguments": '


def native_messages(messages: Sequence[Message]) -> list[dict[str, Any]]:
    """The messages as a template that knows tool calls takes them: with arguments as objects."""
    return [_native(message) for message in messages]


def plain_messages(messages: Sequence[Message], tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The messages for a template that knows of text alone."""
    plain = [_plain(message) for message in _with_results_together(messages)]
    if tools:
        described = "\n".join(
            _compact(tool.model_dump(exclude_none=True, exclude={"function": {"strict"}})) for tool in tools
        )
        instructions = _INSTRUCTIONS.format(tools=described)
        if plain[0]["role"] in ("system", "developer"):
            plain[0]["content"] = f"{plain[0]['content']}\n\n{instructions}"
        else:
            plain.insert(0, {"role": "system", "content": instructions})
    return plain


def _with_results_together(messages: Sequence[Message]) -> list[Message]:
    """Results of several calls as one message, as templates often refuse two of one role in a row."""
    together: list[Message] = []
    for message in messages:
        if message.role == "tool":
            content = f"<tool_response>\n{message.content}\n</tool_response>"
            if together and together[-1].role == "tool":
                content = f"{together[-1].content}\n{content}"
                together.pop()
            message = message.model_copy(update={"content": content})
        together.append(message)
    return together


def _plain(message: Message) -> dict[str, Any]:
    role = "user" if message.role == "tool" else message.role
    calls = [f"{CALL_START}\n{_call_text(call)}\n{CALL_END}" for call in message.tool_calls or ()]
    content = "\n".join([*([message.content] if message.content else []), *calls])
    return _named({"role": role, "content": content}, message)


def _native(message: Message) -> dict[str, Any]:
    native = _named({"role": message.role, "content": message.content}, message)
    if message.tool_calls:
        native["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.function.name, "arguments": _arguments(call)},
            }
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        native["tool_call_id"] = message.tool_call_id
    return native


def _named(message: dict[str, Any], source: Message) -> dict[str, Any]:
    return message if source.name is None else {**message, "name": source.name}


def _call_text(call: ToolCall) -> str:
    return f"{_head(call.function.name)}{call.function.arguments or '{}'}}}"


def _arguments(call: ToolCall) -> Any:
    try:
        return json.loads(call.function.arguments or "{}")
    except (ValueError, RecursionError):  # from a model that was free to write anything
        return call.function.arguments


def _compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
