"""The older API that continues a text."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field, ValidationInfo, field_validator

from model_service.schemas.common import MAX_CHOICES, GenerationFields, Text, Timings, TokenId, Usage

MAX_PROMPTS = 64
MAX_LOGPROBS = 5

Tokens = Annotated[list[TokenId], Field(min_length=1)]


class Prompt(BaseModel):
    """A text, or its tokens."""

    text: Text = ""
    tokens: Tokens | None = None


def as_prompts(prompt: Any) -> Any:
    """All of OpenAI's forms as a list of prompts: a string, tokens, and lists of either."""
    is_tokens = isinstance(prompt, list) and bool(prompt) and all(_is_number(item) for item in prompt)
    if is_tokens or not isinstance(prompt, list):
        prompt = [prompt]
    return [{"text": each} if not isinstance(each, list) else {"tokens": each} for each in prompt]


def _is_number(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


class CompletionRequest(GenerationFields):
    """Texts to be continued."""

    prompt: Annotated[
        list[Prompt],
        BeforeValidator(as_prompts, json_schema_input_type=str | list[str] | list[TokenId] | list[list[TokenId]]),
    ] = Field(min_length=1, max_length=MAX_PROMPTS)
    max_tokens: int | None = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=MAX_LOGPROBS, strict=True)
    echo: bool | None = Field(default=None, description="Send the prompt too, before the answer")
    best_of: int | None = Field(default=None, ge=1, description="Only as many as n")
    suffix: None = Field(default=None, description="Not supported")

    @field_validator("prompt")
    @classmethod
    def _has_few_choices(cls, prompts: list[Prompt], given: ValidationInfo) -> list[Prompt]:
        if len(prompts) * (given.data.get("n") or 1) > MAX_CHOICES:
            raise ValueError(f"n times the number of prompts is over {MAX_CHOICES}")
        return prompts

    @field_validator("echo")
    @classmethod
    def _has_no_logprobs(cls, echo: bool | None, given: ValidationInfo) -> bool | None:
        if echo and given.data.get("logprobs") is not None:
            raise ValueError("with logprobs it asks for those of the prompt, which are not supported")
        return echo

    @field_validator("best_of")
    @classmethod
    def _is_n(cls, best_of: int | None, given: ValidationInfo) -> int | None:
        if best_of is not None and best_of != (given.data.get("n") or 1):
            raise ValueError("it is only supported where it is n")
        return best_of


class CompletionLogprobs(BaseModel):
    """Of each token; ``text_offset`` is where it begins in the choice's text."""

    tokens: list[str]
    token_logprobs: list[float]
    top_logprobs: list[dict[str, float]]
    text_offset: list[int]


class CompletionChoice(BaseModel):
    text: str
    index: int
    logprobs: CompletionLogprobs | None = None
    finish_reason: Literal["stop", "length"]


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage
    timings: Timings
