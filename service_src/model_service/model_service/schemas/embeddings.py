"""OpenAI's API of embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from model_service.schemas.common import TokenId
from model_service.schemas.completions import Prompt, as_prompts

MAX_INPUTS = 2048


class EmbeddingsRequest(BaseModel):
    """Texts, or tokens, of which each gets a vector."""

    model_config = ConfigDict(extra="allow")

    model: str
    input: Annotated[
        list[Prompt],
        BeforeValidator(as_prompts, json_schema_input_type=str | list[str] | list[TokenId] | list[list[TokenId]]),
    ] = Field(min_length=1, max_length=MAX_INPUTS)
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="base64: of 32-bit floats in little endian"
    )
    dimensions: int | None = Field(default=None, ge=1, description="Only as many as the model has")

    @field_validator("input")
    @classmethod
    def _is_not_empty(cls, prompts: list[Prompt]) -> list[Prompt]:
        if any(prompt.tokens is None and not prompt.text for prompt in prompts):
            raise ValueError("an empty text has no embedding")
        return prompts

    @property
    def unknown_fields(self) -> Mapping[str, Any]:
        return self.model_extra or {}


class Embedding(BaseModel):
    """A vector of length 1."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage
