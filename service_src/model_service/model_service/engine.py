"""The one interface between the API and whatever computes the tokens.

Nothing outside this module and the engine's own package knows how tokens are made; another engine
is another implementation of :class:`Engine`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]
RejectReason = Literal["queue_full", "queue_timeout"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy, seed None is a random one."""

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, special tokens as text; max_tokens None is up to the context's end."""

    prompt: str
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """The request has left the queue for a slot."""

    prompt_tokens: int
    queued_seconds: float


@dataclass(frozen=True, slots=True)
class Delta:
    """One generated token. Its text may be empty: half a character, or held back for a stop string."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a request that went well."""

    reason: FinishReason
    prompt_tokens: int
    prompt_seconds: float
    generated_tokens: int
    generation_seconds: float


Event = Started | Delta | Finished


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the loaded model; ``context`` is the room of one sequence in tokens."""

    digest: str
    context: int
    chat_template: str | None
    bos_text: str
    eos_text: str


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A moment's load; ``kv_usage`` is the used part of the KV cache, 0 to 1."""

    slots: int
    running: int
    waiting: int
    kv_usage: float


class EngineError(Exception):
    """A request that could not be served; the message is fit for the client."""


class NotReadyError(EngineError):
    """The model is still loading, or the engine is closed."""


class PromptTooLongError(EngineError):
    """The prompt leaves no room in the context for an answer."""


class OverloadedError(EngineError):
    """The queue is full, or its time ran out; worth another try after ``retry_after`` seconds."""

    def __init__(self, reason: RejectReason, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.retry_after = retry_after


class GenerationFailedError(EngineError):
    """The computation of this request failed."""


class Engine(Protocol):
    """Computes any number of requests side by side. All methods are called on the event loop."""

    @property
    def facts(self) -> ModelFacts:
        """Raises NotReadyError until the model is loaded."""

    def stats(self) -> EngineStats: ...

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Started, a Delta for each token, Finished; or an EngineError. Closing it cancels the request."""

    async def close(self) -> None:
        """Ends what still runs with NotReadyError and frees the model."""
