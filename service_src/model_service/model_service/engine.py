"""The one interface between the API and whatever computes the tokens.

Nothing outside this module and the engine's own package knows how tokens are made; another engine
is another implementation of :class:`Engine`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

FinishReason = Literal["stop", "length"]
RejectReason = Literal["queue_full", "queue_timeout"]
Priority = Literal["interactive", "batch"]
StepPhase = Literal["decode", "sample", "other"]


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen; temperature 0 is greedy, seed None is a random one.

    ``logit_bias`` adds to tokens' logits; ``ignore_eos`` goes on to max_tokens. ``grammar`` is GBNF with the rule
    ``root``, which the whole answer follows; with ``grammar_trigger``, a regular expression that has to match from the
    answer's beginning, only what comes from its first group on.
    """

    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int | None = None
    logit_bias: tuple[tuple[int, float], ...] = ()
    ignore_eos: bool = False
    grammar: str | None = None
    grammar_trigger: str | None = None


@dataclass(frozen=True, slots=True)
class GenerationRequest:
    """A prompt, special tokens as text, or its tokens; max_tokens None is up to the context's end.

    ``stop`` ends the answer before any of these strings. ``top_logprobs`` None asks for no logprobs, 0 for those of the
    chosen tokens alone. Computed prefixes are shared between requests of the same ``tenant`` and ``adapter`` only.
    """

    prompt: str | tuple[int, ...]
    sampling: Sampling = Sampling()
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    top_logprobs: int | None = None
    tenant: str = ""
    adapter: str | None = None
    priority: Priority = "interactive"


@dataclass(frozen=True, slots=True)
class Started:
    """The request has left the queue for a slot; ``cached_tokens`` of its prompt were already computed for others."""

    prompt_tokens: int
    cached_tokens: int
    queued_seconds: float


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """A token's natural log probability, before sampling changes anything."""

    token: int
    piece: bytes
    logprob: float


@dataclass(frozen=True, slots=True)
class Logprobs:
    """Of one generated token, and of the likeliest ones in its place, the likeliest first."""

    chosen: TokenLogprob
    top: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True)
class Delta:
    """One generated token. Its text may be empty: half a character, or held back for a stop string."""

    text: str
    logprobs: Logprobs | None = None


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of a request that went well."""

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    prompt_seconds: float
    generated_tokens: int
    generation_seconds: float


Event = Started | Delta | Finished


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What is known of the loaded model.

    ``context`` is the room of one sequence in tokens, ``capacity`` how many requests may be there at once, running and
    waiting, ``embedding_length`` the numbers of an embedding; None where there is nothing to say.
    """

    digest: str
    context: int
    chat_template: str | None
    bos_text: str
    eos_text: str
    adapters: tuple[str, ...] = ()
    capacity: int | None = None
    embedding_length: int | None = None


@dataclass(frozen=True, slots=True)
class EngineStats:
    """A moment's load, and sums since the start.

    ``kv_usage`` is the used part of the KV cache, 0 to 1. ``prompt_tokens_computed`` leaves out those that had been
    computed for another request. ``step_seconds`` are those of the engine's steps by phase.
    """

    slots: int
    running: int
    waiting: int
    kv_usage: float
    prefix_store_bytes: int = 0
    prompt_tokens_computed: int = 0
    paused: int = 0
    failed: int = 0
    contexts_lost: int = 0
    step_seconds: Mapping[StepPhase, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SlotState:
    """What one slot does: it computes its prompt, waits for a prefix that another slot computes, or generates."""

    id: int
    state: Literal["idle", "waiting_for_prefix", "prefill", "decode"]
    prompt_tokens: int = 0
    computed_tokens: int = 0
    generated_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Embeddings:
    """A vector of length 1 for each input, and the tokens of all inputs together."""

    vectors: list[list[float]]
    prompt_tokens: int


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


class InvalidRequestError(EngineError):
    """The engine can't do what this field asks for, such as a grammar with an error."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class GenerationFailedError(EngineError):
    """The computation of this request failed."""


class Engine(Protocol):
    """Computes any number of requests side by side. All methods are called on the event loop."""

    @property
    def facts(self) -> ModelFacts:
        """Raises NotReadyError until the model is loaded."""

    def stats(self) -> EngineStats: ...

    def slots(self) -> list[SlotState]: ...

    async def tokenize(self, text: str) -> list[int]:
        """The tokens of a text as a prompt has them, special ones recognised; PromptTooLongError if too many."""

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text of these tokens, special ones too; InvalidRequestError for one that the model doesn't have."""

    def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Started, a Delta for each token, Finished; or an EngineError. Closing it cancels the request."""

    async def embed(self, inputs: Sequence[str | tuple[int, ...]]) -> Embeddings:
        """The inputs' pooled embeddings; raises an EngineError. Cancelling it cancels the computation."""

    async def close(self) -> None:
        """Ends what still runs with NotReadyError and frees the model."""
