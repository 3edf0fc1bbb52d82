"""The request for a chat completion."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from model_service.schemas.common import GenerationFields, JsonObject, Text, join_parts

MAX_TOOLS = 128
MAX_TOP_LOGPROBS = 20
_NAME = r"^[A-Za-z0-9_-]{1,64}$"

Name = Annotated[str, Field(pattern=_NAME)]


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


Content = Annotated[
    Text, BeforeValidator(partial(join_parts, kinds=("text",)), json_schema_input_type=str | list[TextPart] | None)
]


class CalledFunction(BaseModel):
    name: Name
    arguments: Text = Field(description="JSON, as text")


class ToolCall(BaseModel):
    """A call that an earlier answer made."""

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(BaseModel):
    """One message; what an assistant's message from an earlier answer carries beside its text is accepted."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = ""
    name: Text | None = Field(default=None, description="For templates that know it")
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=MAX_TOOLS)
    tool_call_id: Text | None = None
    function_call: None = Field(default=None, description="Not supported; the newer name is tool_calls")
    audio: None = Field(default=None, description="Not supported")

    @model_validator(mode="after")
    def _fits_its_role(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls are for messages of the role assistant")
        if (self.tool_call_id is None) == (self.role == "tool"):
            raise ValueError("tool_call_id is needed for messages of the role tool, and for no others")
        return self


def _answer_calls(messages: list[Message]) -> list[Message]:
    called: set[str] = set()
    for index, message in enumerate(messages):
        if message.tool_call_id is not None and message.tool_call_id not in called:
            text = "message {index} answers the tool call {id}, which no message before it makes"
            raise PydanticCustomError(
                "unknown_tool_call", text, {"index": index, "id": repr(message.tool_call_id)[:80]}
            )
        called |= {call.id for call in message.tool_calls or ()}
    return messages


class FunctionDefinition(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: Name
    description: Text | None = None
    parameters: JsonObject | None = Field(default=None, description="A JSON schema; none: no arguments")
    strict: bool | None = Field(default=None, description="Arguments are valid either way")


class Tool(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["function"]
    function: FunctionDefinition


def refuse_same_names(names: Sequence[str]) -> None:
    """Raises the error that names what is there twice."""
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise PydanticCustomError("duplicate_tool", "two tools have the name {name}", {"name": repr(twice)})


def _differ_in_name(tools: list[Tool] | None) -> list[Tool] | None:
    refuse_same_names([tool.function.name for tool in tools or ()])
    return tools


class NamedFunction(BaseModel):
    name: str


class NamedToolChoice(BaseModel):
    type: Literal["function"]
    function: NamedFunction


class ToolChoice(BaseModel):
    """``type`` is OpenAI's word for it, or "function" for a named one."""

    type: Literal["none", "auto", "required", "function"]
    function: NamedFunction | None = None

    @model_validator(mode="after")
    def _names_its_function(self) -> Self:
        if (self.type == "function") != (self.function is not None):
            raise ValueError("a function is named with the type function, and only with it")
        return self

    def check_of(self, names: Sequence[str]) -> None:
        """Raises ValueError if it can't be kept to with tools of these names."""
        if self.type in ("none", "auto"):
            return
        if not names:
            raise ValueError("it needs tools")
        if self.function is not None and self.function.name not in names:
            raise ValueError("it names a function that is not in tools")


def _with_type(choice: Any) -> Any:
    return {"type": choice} if isinstance(choice, str) else choice


class JsonSchemaFormat(BaseModel):
    name: Name
    description: Text | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = Field(default=None, description="Answers are valid either way")


class ResponseFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaFormat | None = None

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError("json_schema is needed for the type json_schema, and for no other")
        return self


class ChatRequest(GenerationFields):
    """A conversation to be continued."""

    messages: Annotated[list[Message], AfterValidator(_answer_calls)] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1, description="Older name of max_completion_tokens")
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[Tool] | None, AfterValidator(_differ_in_name)] = Field(default=None, max_length=MAX_TOOLS)
    tool_choice: Annotated[
        ToolChoice | None,
        BeforeValidator(
            _with_type, json_schema_input_type=Literal["none", "auto", "required"] | NamedToolChoice | None
        ),
    ] = None
    parallel_tool_calls: bool | None = Field(default=None, description="false: at most one call")

    @field_validator("max_completion_tokens")
    @classmethod
    def _is_given_once(cls, tokens: int | None, given: ValidationInfo) -> int | None:
        if tokens is not None and given.data.get("max_tokens") is not None:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        return tokens

    @field_validator("top_logprobs")
    @classmethod
    def _needs_logprobs(cls, count: int | None, given: ValidationInfo) -> int | None:
        if count and not given.data.get("logprobs"):
            raise ValueError("it needs logprobs to be true")
        return count

    @field_validator("tool_choice")
    @classmethod
    def _is_of_its_tools(cls, choice: ToolChoice | None, given: ValidationInfo) -> ToolChoice | None:
        if choice is not None and "tools" in given.data:
            choice.check_of([tool.function.name for tool in given.data["tools"] or ()])
        return choice
