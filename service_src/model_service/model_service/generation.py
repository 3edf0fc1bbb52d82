"""From requests for tokens to a plan: its choices, and the key of its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

from model_service.answers import new_header
from model_service.engine import Engine, GenerationRequest, InvalidRequestError, Priority, Sampling
from model_service.reply import Plan, Reply
from model_service.response_cache import ResponseCache, cache_key
from model_service.schemas.common import MAX_SEED, GenerationFields
from model_service.single_flight import Flights


class Generator:
    """The answers of one model."""

    def __init__(self, engine: Engine, cache: ResponseCache | None, model_name: str) -> None:
        self.engine = engine
        self._cache = cache
        self._flights = None if cache is None else Flights(cache)
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
        count, capacity = n * len(requests), self.engine.facts.capacity
        if capacity is not None and count > capacity:
            field = "n" if n > 1 else prompt_field
            raise InvalidRequestError(field, f"{field} asks for {count} answers, and {capacity} is the most at once")
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

    def reply(self, plan: Plan) -> Reply:
        return Reply(plan, self.engine, self._cache, self._flights, self._model_name)

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
