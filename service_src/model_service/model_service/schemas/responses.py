"""The request for a response, OpenAI's newer API of conversations."""

from __future__ import annotations

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

from model_service.schemas.chat import (
    MAX_TOOLS,
    MAX_TOP_LOGPROBS,
    FunctionDefinition,
    Name,
    ToolChoice,
    refuse_same_names,
)
from model_service.schemas.common import GenerationFields, JsonObject, Text, join_parts

LOGPROBS = "message.output_text.logprobs"
_KINDS = ("message", "function_call", "function_call_output")


class InputPart(BaseModel):
    type: Literal["input_text", "output_text"]
    text: str


Content = Annotated[
    Text,
    BeforeValidator(
        partial(join_parts, kinds=("input_text", "output_text")), json_schema_input_type=str | list[InputPart]
    ),
]


class _Item(BaseModel):
    # What an answer's items carry beside, such as their ids and status, comes back with them.
    model_config = ConfigDict(extra="ignore")


class InputMessage(_Item):
    type: Literal["message"] = "message"
    role: Literal["system", "developer", "user", "assistant"]
    content: Content


class FunctionCall(_Item):
    """A call that an earlier answer made."""

    type: Literal["function_call"]
    call_id: Text
    name: Name
    arguments: Text = Field(description="JSON, as text")


class FunctionCallOutput(_Item):
    type: Literal["function_call_output"]
    call_id: Text
    output: Content


def _of_known_type(item: Any) -> Any:
    if not isinstance(item, dict):
        return item
    kind = item.get("type") or "message"
    if kind not in _KINDS:
        message = "only items of type {kinds} are supported, got {kind}"
        raise PydanticCustomError("unsupported_item", message, {"kinds": ", ".join(_KINDS), "kind": repr(kind)[:40]})
    return {**item, "type": kind}


_AnyItem = Annotated[InputMessage | FunctionCall | FunctionCallOutput, Field(discriminator="type")]
InputItem = Annotated[_AnyItem, BeforeValidator(_of_known_type, json_schema_input_type=_AnyItem)]


def _as_items(given: Any) -> Any:
    return [{"role": "user", "content": given}] if isinstance(given, str) else given


def _answer_calls(items: list[InputMessage | FunctionCall | FunctionCallOutput]) -> Any:
    called: set[str] = set()
    for index, item in enumerate(items):
        if isinstance(item, FunctionCall):
            called.add(item.call_id)
        elif isinstance(item, FunctionCallOutput) and item.call_id not in called:
            text = "item {index} answers the call {id}, which no item before it makes"
            raise PydanticCustomError("unknown_call", text, {"index": index, "id": repr(item.call_id)[:80]})
    return items


class _Function(BaseModel):
    type: Literal["function"]


class FunctionTool(FunctionDefinition, _Function):
    """The type is looked at first: errors of a tool of another type name that."""


def _differ_in_name(tools: list[FunctionTool]) -> list[FunctionTool]:
    refuse_same_names([tool.name for tool in tools])
    return tools


class NamedTool(BaseModel):
    type: Literal["function"]
    name: str


def _as_chats_choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function" and "name" in choice:
        return {"type": "function", "function": {"name": choice["name"]}}
    return {"type": choice} if isinstance(choice, str) else choice


class TextFormat(BaseModel):
    model_config = ConfigDict(extra="forbid")

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: Text | None = None
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = Field(default=None, description="Answers are valid either way")

    @model_validator(mode="after")
    def _has_its_schema(self) -> Self:
        if self.type == "json_schema" and (self.name is None or self.schema_ is None):
            raise ValueError("name and schema are needed for the type json_schema")
        if self.type != "json_schema" and self.schema_ is not None:
            raise ValueError("schema is for the type json_schema alone")
        return self


class TextOptions(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: TextFormat | None = None
    verbosity: Literal["medium"] | None = Field(default=None, description="Others are not supported")


# All but the first name parts that no answer of this server has.
Includable = Literal[
    "message.output_text.logprobs",
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    "code_interpreter_call.outputs",
    "computer_call_output.output.image_url",
    "file_search_call.results",
    "web_search_call.action.sources",
    "web_search_call.results",
]


class ResponseRequest(GenerationFields):
    """A conversation to be continued. Nothing is stored, so it comes whole with each request."""

    input: Annotated[
        list[InputItem],
        BeforeValidator(_as_items, json_schema_input_type=str | list[_AnyItem]),
        AfterValidator(_answer_calls),
    ] = Field(min_length=1)
    instructions: Text | None = Field(default=None, description="A system message before all others")
    max_output_tokens: int | None = Field(default=None, ge=1)
    include: list[Includable] | None = Field(default=None, max_length=16)
    top_logprobs: int | None = Field(default=None, ge=0, le=MAX_TOP_LOGPROBS)
    text: TextOptions | None = None
    tools: Annotated[list[FunctionTool] | None, AfterValidator(lambda tools: _differ_in_name(tools or []))] = Field(
        default=None, max_length=MAX_TOOLS
    )
    tool_choice: Annotated[
        ToolChoice | None,
        BeforeValidator(
            _as_chats_choice, json_schema_input_type=Literal["none", "auto", "required"] | NamedTool | None
        ),
    ] = None
    parallel_tool_calls: bool | None = Field(default=None, description="false: at most one call")
    metadata: Annotated[
        dict[Annotated[Text, Field(max_length=64)], Annotated[Text, Field(max_length=512)]] | None,
        Field(max_length=16),
    ] = Field(default=None, description="Comes back with the answer")
    n: Literal[1] | None = Field(default=None, description="A response is one answer")
    max_tokens: None = Field(default=None, description="Not supported; its name here is max_output_tokens")

    @field_validator("top_logprobs")
    @classmethod
    def _needs_logprobs(cls, count: int | None, given: ValidationInfo) -> int | None:
        if count and LOGPROBS not in (given.data.get("include") or ()):
            raise ValueError(f"it needs include to have {LOGPROBS}")
        return count

    @field_validator("tool_choice")
    @classmethod
    def _is_of_its_tools(cls, choice: ToolChoice | None, given: ValidationInfo) -> ToolChoice | None:
        if choice is not None and "tools" in given.data:
            choice.check_of([tool.name for tool in given.data["tools"] or ()])
        return choice

    @property
    def has_logprobs(self) -> bool:
        return LOGPROBS in (self.include or ())
