"""What several of the APIs' requests and answers have in common."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
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

MAX_STOPS = 4
MAX_CHOICES = 128
MAX_BIASES = 1024
MAX_SEED = 1 << 63


def _encodable(text: str) -> str:
    # JSON can name half of a surrogate pair, which no UTF-8 text has.
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            message = "half a surrogate pair at character {position}"
            raise PydanticCustomError("unpaired_surrogate", message, {"position": error.start}) from error
    return text


def encodable_json(value: Any) -> Any:
    """The same value, if all of its texts can be written as UTF-8."""
    try:
        _encodable(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        raise PydanticCustomError("too_deep", "it is nested too deep") from None
    return value


def _as_list(stop: Any) -> Any:
    return [] if stop is None else [stop] if isinstance(stop, str) else stop


def join_parts(content: Any, kinds: Sequence[str]) -> Any:
    """The text of content in parts, which are of these types; what isn't in parts is left as it is."""
    if content is None:
        return ""
    if not isinstance(content, list):
        return content
    texts = []
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind not in kinds:
            message = "only parts of type {kinds} are supported, got {kind}"
            known = " and ".join(map(repr, kinds))
            raise PydanticCustomError("unsupported_part", message, {"kinds": known, "kind": repr(kind)[:40]})
        if not isinstance(part.get("text"), str):
            raise PydanticCustomError("part_without_text", "a part of type {kind} needs its text", {"kind": repr(kind)})
        texts.append(part["text"])
    return "\n".join(texts)


Text = Annotated[str, AfterValidator(_encodable)]
JsonObject = Annotated[dict[str, Any], AfterValidator(encodable_json)]
StopString = Annotated[Text, Field(min_length=1, max_length=1024)]
Stops = Annotated[
    list[StopString],
    Field(max_length=MAX_STOPS),
    BeforeValidator(_as_list, json_schema_input_type=str | list[str] | None),
]
TokenId = Annotated[int, Field(ge=0, lt=1 << 31)]
Bias = Annotated[float, Field(ge=-100, le=100)]


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: bool = False

    @model_validator(mode="after")
    def _has_no_others(self) -> Self:
        # Obfuscation pads chunks against eavesdroppers who know their lengths; without it the answer is the same.
        unknown = [name for name in self.model_extra or {} if name != "include_obfuscation"]
        if unknown:
            message = "{name} is not supported by this server"
            raise PydanticCustomError("unsupported_parameter", message, {"name": repr(unknown[0])[:100]})
        return self


class GenerationFields(BaseModel):
    """The fields of all requests that generate. Others are refused by name, save those that can't change the answer."""

    # NaN and infinity are no JSON, but Python's parser takes them.
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)

    model: str
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=0, le=1 << 20, description="0 turns it off")
    min_p: float | None = Field(default=None, ge=0, le=1)
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)
    logit_bias: dict[TokenId, Bias] | None = Field(
        default=None, max_length=MAX_BIASES, json_schema_extra={"propertyNames": {"pattern": r"^[0-9]{1,10}$"}}
    )
    seed: int | None = Field(default=None, ge=-MAX_SEED, lt=MAX_SEED, description="Choice i of n takes seed + i")
    stop: Stops = []
    n: int | None = Field(default=None, ge=1, le=MAX_CHOICES)
    ignore_eos: bool | None = Field(default=None, description="Go on to max_tokens, past where the model would end")
    grammar: Text | None = Field(default=None, description="GBNF that the whole answer follows")
    service_tier: Literal["auto", "default", "flex", "priority"] | None = Field(
        default=None, description="flex: after all that isn't"
    )
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @field_validator("stream_options")
    @classmethod
    def _needs_stream(cls, options: StreamOptions | None, given: ValidationInfo) -> StreamOptions | None:
        if options is not None and not given.data.get("stream"):
            raise ValueError("it needs stream to be true")
        return options

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @property
    def unknown_fields(self) -> Mapping[str, Any]:
        return self.model_extra or {}


class PromptTokensDetails(BaseModel):
    cached_tokens: int


class Usage(BaseModel):
    """A prompt counts once, whatever its number of choices; ``cached_tokens`` of it were already computed."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails


class Timings(BaseModel):
    """prompt_ms is from getting a slot to the first token, predicted_ms from there to the last."""

    prompt_n: int
    prompt_ms: float
    predicted_n: int
    predicted_ms: float
    predicted_per_second: float
