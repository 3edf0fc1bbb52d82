"""A chat completion from request to answer: template, cache, engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Literal

from model_service import metrics
from model_service.answers import Answer, Chunk, Header, answer_of, first_chunk, new_header, text_chunk
from model_service.chat_template import ChatTemplate, TemplateError, TemplateRenderer
from model_service.engine import Delta, Engine, Finished, GenerationRequest, Sampling, Started
from model_service.response_cache import CacheUnavailableError, ResponseCache, cache_key
from model_service.schemas import ChatRequest

CacheStatus = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute, and under which key the answer is kept; None if it is not to be."""

    header: Header
    request: GenerationRequest
    include_usage: bool
    key: str | None


class Chat:
    """The chat completions of one model."""

    def __init__(
        self, engine: Engine, cache: ResponseCache | None, model_name: str, renderer: TemplateRenderer
    ) -> None:
        self._engine = engine
        self._renderer = renderer
        self._cache = cache
        self._model_name = model_name
        self._template: ChatTemplate | None = None

    @property
    def template(self) -> ChatTemplate:
        """Raises NotReadyError until the model is loaded, TemplateError if it has no usable template."""
        if self._template is None:
            facts = self._engine.facts
            if facts.chat_template is None:
                raise TemplateError("This model has no chat template")
            self._template = ChatTemplate(self._renderer, facts.chat_template, facts.bos_text, facts.eos_text)
        return self._template

    async def plan(self, request: ChatRequest, tenant: str) -> Plan:
        messages = [{"role": message.role, "content": message.content} for message in request.messages]
        generation = GenerationRequest(
            prompt=await self.template.render(messages),
            sampling=_sampling(request),
            max_tokens=request.max_completion_tokens or request.max_tokens,
            stop=tuple(request.stop),
        )
        kept = self._cache is not None and _is_deterministic(generation.sampling)
        key = self._key(generation, tenant) if kept else None
        return Plan(new_header(self._model_name), generation, request.include_usage, key)

    async def look_up(self, plan: Plan) -> tuple[Plan, Answer | None, CacheStatus]:
        """The kept answer, if any, and the plan without its key if the cache can't be used."""
        if self._cache is None or plan.key is None:
            metrics.CACHE.labels(self._model_name, "bypass").inc()
            return plan, None, "bypass"
        try:
            answer = await self._cache.get(plan.key)
        except CacheUnavailableError:
            metrics.CACHE.labels(self._model_name, "error").inc()
            return replace(plan, key=None), None, "bypass"
        status: CacheStatus = "miss" if answer is None else "hit"
        metrics.CACHE.labels(self._model_name, status).inc()
        return plan, answer, status

    async def complete(self, plan: Plan) -> Answer:
        """Computes the whole answer, and keeps it if the plan says so."""
        deltas: list[str] = []
        async with aclosing(metrics.measured(self._engine.submit(plan.request), self._model_name)) as events:
            async for event in events:
                if isinstance(event, Delta) and event.text:
                    deltas.append(event.text)
                elif isinstance(event, Finished):
                    return await self._kept(plan, answer_of(plan.header, deltas, event))
        raise AssertionError("an engine's events end with Finished or an error")

    async def stream(self, plan: Plan) -> AsyncGenerator[Chunk, None]:
        """The same as chunks, each as soon as its text is there; the first when the request has a slot."""
        deltas: list[str] = []
        async with aclosing(metrics.measured(self._engine.submit(plan.request), self._model_name)) as events:
            async for event in events:
                if isinstance(event, Started):
                    yield first_chunk(plan.header)
                elif isinstance(event, Finished):
                    answer = await self._kept(plan, answer_of(plan.header, deltas, event))
                    for chunk in answer.last_chunks(plan.include_usage):
                        yield chunk
                elif event.text:
                    deltas.append(event.text)
                    yield text_chunk(plan.header, event.text)

    async def _kept(self, plan: Plan, answer: Answer) -> Answer:
        if self._cache is not None and plan.key is not None:
            await self._cache.put(plan.key, answer)
        return answer

    def _key(self, request: GenerationRequest, tenant: str) -> str:
        facts = self._engine.facts
        return cache_key(
            {
                "tenant": tenant,
                "model": facts.digest,
                "model_name": self._model_name,
                "context": facts.context,
                "template": self.template.digest,
                "request": asdict(request),
            }
        )


def _sampling(request: ChatRequest) -> Sampling:
    given = request.model_dump(include=set(Sampling.__dataclass_fields__), exclude_none=True)
    return Sampling(**given)


def _is_deterministic(sampling: Sampling) -> bool:
    return sampling.temperature == 0 or sampling.seed is not None
