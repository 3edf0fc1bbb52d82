"""llama-server's API of texts, tokens and slots."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from model_service.schemas.common import Text, TokenId


class TokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    content: Text
    model: str | None = Field(default=None, description="Needed where several are served")
    add_special: bool | None = Field(default=None, description="Begin as a prompt does, if the model asks for it")
    parse_special: Literal[True] | None = Field(default=None, description="Special tokens are recognised")
    with_pieces: bool | None = Field(default=None, description="Send each token's text too")


class Piece(BaseModel):
    """A token and its text, in which U+FFFD stands for a part of a character."""

    id: int
    piece: str


class Tokenized(BaseModel):
    tokens: list[int] | list[Piece]


class DetokenizeRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tokens: Annotated[list[TokenId], Field(max_length=1 << 20)]
    model: str | None = Field(default=None, description="Needed where several are served")


class Detokenized(BaseModel):
    content: str


class Slot(BaseModel):
    """What one slot does; ``computed_tokens`` are those of its prompt and answer that are in the KV cache."""

    id: int
    model: str
    is_processing: bool
    state: str
    prompt_tokens: int
    computed_tokens: int
    generated_tokens: int
