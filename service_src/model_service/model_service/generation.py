"""From a plan to its events: the cache, then the engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Literal

from model_service import metrics
from model_service.answers import Answer, Header, new_header
from model_service.engine import Engine, Finished, GenerationRequest, InvalidRequestError, Priority, Sampling
from model_service.merge import Batch, batches
from model_service.response_cache import CacheUnavailableError, ResponseCache, cache_key
from model_service.schemas.common import MAX_SEED, GenerationFields

CacheStatus = Literal["hit", "miss", "bypass"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to compute, a request for each choice, and under which key the answer is kept; None if it is not to be.

    ``n`` choices in a row are of one prompt. ``prompt_field`` and ``grammar_field`` are the fields that the prompt
    and the grammar are made of, which errors name.
    """

    header: Header
    requests: tuple[GenerationRequest, ...]
    n: int
    key: str | None
    prompt_field: str
    grammar_field: str


class Generator:
    """The answers of one model."""

    def __init__(self, engine: Engine, cache: ResponseCache | None, model_name: str) -> None:
        self.engine = engine
        self._cache = cache
        self._model_name = model_name

    async def plan(
        self,
        kind: str,
        requests: list[GenerationRequest],
        n: int,
        *,
        prompt_field: str,
        grammar_field: str = "grammar",
        made_of: str = "",
    ) -> Plan:
        """``kind`` begins the answer's id; ``requests`` has one for each prompt.

        ``made_of`` is what made the prompts beside the request.
        """
        biased = [token for token, _ in requests[0].sampling.logit_bias]
        if biased:
            await self.text_of(biased, "logit_bias")
        choices = tuple(_choice(request, index) for request in requests for index in range(n))
        key = None
        if self._cache is not None and all(_is_deterministic(choice.sampling) for choice in choices):
            key = self._key(kind, choices, made_of)
        return Plan(new_header(kind, self._model_name), choices, n, key, prompt_field, grammar_field)

    async def text_of(self, tokens: Sequence[int], field: str) -> str:
        """Raises InvalidRequestError for tokens that the model doesn't have; ``field`` is where they are from."""
        try:
            return await self.engine.detokenize(tokens)
        except InvalidRequestError as error:
            raise InvalidRequestError(field, f"{field}: {error}") from error

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

    async def events(self, plan: Plan, pause_seconds: float | None = None) -> AsyncGenerator[Batch, None]:
        """All events of all choices, in batches of those that are there; keeps them if the plan says so."""
        sources = [metrics.measured(self.engine.submit(request), self._model_name) for request in plan.requests]
        kept: Batch | None = [] if plan.key is not None else None
        left = len(sources)
        async with aclosing(batches(sources, pause_seconds)) as all_batches:
            async for batch in all_batches:
                if kept is not None:
                    kept += batch
                    left -= sum(isinstance(event, Finished) for _, event in batch)
                    if left == 0:
                        # Before the client has the end: whoever asks the same then finds it.
                        await self._keep(plan, kept)
                        kept = None
                yield batch

    async def complete(self, plan: Plan) -> Answer:
        """The whole answer."""
        events: Batch = []
        async with aclosing(self.events(plan)) as all_batches:
            async for batch in all_batches:
                events += batch
        return Answer(header=plan.header, n=plan.n, events=events)

    async def _keep(self, plan: Plan, events: Batch) -> None:
        assert self._cache is not None
        assert plan.key is not None
        await self._cache.put(plan.key, Answer(header=plan.header, n=plan.n, events=events))

    def _key(self, kind: str, choices: tuple[GenerationRequest, ...], made_of: str) -> str:
        facts = self.engine.facts
        return cache_key(
            {
                "kind": kind,
                "model": facts.digest,
                "model_name": self._model_name,
                "context": facts.context,
                "template": made_of,
                # When it is computed changes nothing of what is.
                "requests": [asdict(replace(choice, priority="interactive")) for choice in choices],
            }
        )


def sampling_of(request: GenerationFields, grammar: str | None = None, trigger: str | None = None) -> Sampling:
    """The request's sampling; what it doesn't say is the engine's default."""
    names = {"temperature", "top_k", "top_p", "min_p", "presence_penalty", "frequency_penalty", "seed", "ignore_eos"}
    given = request.model_dump(include=names, exclude_none=True)
    biases = tuple(sorted((request.logit_bias or {}).items()))
    return Sampling(**given, logit_bias=biases, grammar=grammar, grammar_trigger=trigger)


def priority_of(request: GenerationFields) -> Priority:
    """OpenAI's cheaper tier is the one that may wait."""
    return "batch" if request.service_tier == "flex" else "interactive"


def _choice(request: GenerationRequest, index: int) -> GenerationRequest:
    seed = request.sampling.seed
    if seed is None or index == 0:
        return request
    return replace(
        request, sampling=replace(request.sampling, seed=(seed + MAX_SEED + index) % (2 * MAX_SEED) - MAX_SEED)
    )


def _is_deterministic(sampling: Sampling) -> bool:
    return sampling.temperature == 0 or sampling.seed is not None
