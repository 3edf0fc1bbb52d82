"""What comes in and goes out of the API, in OpenAI's form."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

MAX_STOPS = 4


class TextPart(BaseModel):
    type: Literal["text"]
    text: str


def _join_parts(content: Any) -> Any:
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text" or not isinstance(part.get("text"), str):
            message = "only parts of type 'text' are supported, got {kind}"
            raise PydanticCustomError("unsupported_part", message, {"kind": repr(kind)[:40]})
        texts.append(part["text"])
    return "\n".join(texts)


def _encodable(text: str) -> str:
    # JSON can name half of a surrogate pair, which no UTF-8 text has.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            message = "half a surrogate pair at character {position}"
            raise PydanticCustomError("unpaired_surrogate", message, {"position": error.start}) from error
    return text


def _as_list(stop: Any) -> Any:
    return [] if stop is None else [stop] if isinstance(stop, str) else stop


Content = Annotated[
    str,
    BeforeValidator(_join_parts, json_schema_input_type=str | list[TextPart] | None),
    AfterValidator(_encodable),
]
StopString = Annotated[str, Field(min_length=1, max_length=1024), AfterValidator(_encodable)]
Stops = Annotated[
    list[StopString],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_as_list, json_schema_input_type=str | list[str] | None),
]


class Message(BaseModel):
    """One message; what an assistant's message from an earlier answer carries beside its text is accepted."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = ""
    tool_calls: None = Field(default=None, description="Not supported")
    function_call: None = Field(default=None, description="Not supported")
    audio: None = Field(default=None, description="Not supported")


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="ignore")

    include_usage: bool = False


class ChatRequest(BaseModel):
    """The supported fields. Others are refused by name, save those that can't change the answer."""

    # NaN and infinity are no JSON, but Python's parser takes them.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str
    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1, description="Older name of max_completion_tokens")
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1 << 20, description="0 turns it off")
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    seed: int | None = Field(default=None, ge=-(1 << 63), lt=1 << 63)
    stop: Stops = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _fields_agree(self) -> ChatRequest:
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            raise ValueError("give max_tokens or max_completion_tokens, not both")
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options needs stream to be true")
        return self

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class Timings(BaseModel):
    """prompt_ms is from getting a slot to the first token, predicted_ms from there to the last."""

    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float
    predicted_per_second: float


class AssistantMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class Choice(BaseModel):
    index: Literal[0] = 0
    message: AssistantMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length"]


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    timings: Timings


class ModelCard(BaseModel):
    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llm.orchestrator"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
