"""An engine that says what a test tells it, and the service's own application around it, without a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from support import MODEL

from model_service.auth import ApiKeys
from model_service.chat import Chat
from model_service.chat_template import TemplateRenderer
from model_service.engine import (
    Delta,
    Embeddings,
    EngineError,
    EngineStats,
    Event,
    Finished,
    FinishReason,
    GenerationRequest,
    InvalidRequestError,
    Logprobs,
    ModelFacts,
    SlotState,
    Started,
    TokenLogprob,
)
from model_service.models import Entry, Models
from model_service.response_cache import ResponseCache
from model_service.routes import chat, completions, models, responses, tokens
from model_service.schemas import ModelCard
from service_kit.app import create_app

VOCABULARY = 1000
PLAIN_TEMPLATE = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
Script = Callable[[GenerationRequest], Iterable[str | EngineError | float]]


def says(*pieces: str | EngineError | float) -> Script:
    """The same for each request: texts of tokens, seconds to wait, and an error to end with."""
    return lambda _request: pieces


HELLO = says("Hel", "lo")


class FakeEngine:
    """``asked`` has all requests, ``running`` those that haven't ended."""

    def __init__(self, script: Script = HELLO, chat_template: str = PLAIN_TEMPLATE) -> None:
        self.script = script
        self.reason: FinishReason = "stop"
        self.refusal: EngineError | None = None
        self.asked: list[GenerationRequest] = []
        self.running = 0
        self.facts = ModelFacts(
            digest="0" * 64, context=512, chat_template=chat_template, bos_text="<s>", eos_text="</s>"
        )

    def stats(self) -> EngineStats:
        return EngineStats(slots=4, running=self.running, waiting=0, kv_usage=0.0)

    def slots(self) -> list[SlotState]:
        busy = [SlotState(slot, "decode", 10, 12, 2) for slot in range(self.running)]
        return [*busy, SlotState(len(busy), "idle")]

    async def tokenize(self, text: str) -> list[int]:
        return [1, *(ord(character) for character in text)]

    async def detokenize(self, tokens: Sequence[int]) -> str:
        if any(token >= VOCABULARY for token in tokens):
            raise InvalidRequestError("tokens", f"There is no token {max(tokens)}")
        return "".join("<s>" if token == 1 else chr(token) for token in tokens)

    async def submit(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        self.asked.append(request)
        if self.refusal is not None:
            raise self.refusal
        self.running += 1
        try:
            yield Started(prompt_tokens=10, cached_tokens=4, queued_seconds=0.0)
            count = 0
            for piece in self.script(request):
                await asyncio.sleep(piece if isinstance(piece, float) else 0)
                if isinstance(piece, EngineError):
                    raise piece
                if isinstance(piece, str):
                    count += 1
                    yield Delta(piece, _logprobs(piece, request.top_logprobs))
            yield Finished(self.reason, 10, 4, 0.1, count, 0.2)
        finally:
            self.running -= 1

    async def embed(self, inputs: Sequence[str | tuple[int, ...]]) -> Embeddings:
        raise NotImplementedError

    @property
    def status(self) -> str:
        return "loaded"

    async def known(self) -> None:
        pass

    async def close(self) -> None:
        pass


def _logprobs(piece: str, top: int | None) -> Logprobs | None:
    if top is None:
        return None
    others = [TokenLogprob(index, b"x%d" % index, -1.0 - index) for index in range(top)]
    return Logprobs(TokenLogprob(7, piece.encode(), -0.5), tuple(others))


def app_of(
    engine: FakeEngine,
    cache: ResponseCache | None = None,
    keep_alive_seconds: float = 10.0,
    api_keys: Sequence[str] = (),
) -> FastAPI:
    """The service's application, serving this engine as MODEL."""

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncGenerator[dict[str, Any], None]:
        async with TemplateRenderer() as renderer:
            served = Models()
            served.add(Entry(ModelCard(id=MODEL, created=0), engine, Chat(engine, cache, MODEL, renderer)))
            yield {"models": served, "api_keys": ApiKeys(api_keys), "keep_alive_seconds": keep_alive_seconds}

    routers = [models.router, chat.router, completions.router, responses.router, tokens.router]
    return create_app(service="fake", version="0", max_body_bytes=1 << 20, routers=routers, lifespan=lifespan)
