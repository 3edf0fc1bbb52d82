"""A chain of llama.cpp's samplers for one request."""

from __future__ import annotations

import secrets
from typing import Any

from model_service.engine import Sampling
from model_service.llama.bindings import llama

# llama.cpp takes the largest uint32 for "pick a seed yourself", so given seeds stay below it.
_SEED_RANGE = 0xFFFFFFFF
_NO_REPEAT_PENALTY = 1.0
_MIN_KEEP = 1


def build_chain(sampling: Sampling, vocab_size: int, context: int) -> Any:
    """The chain in llama.cpp's usual order; free it with ``llama_sampler_free``.

    Penalties count what the request has generated, over the whole of it, as OpenAI's do.
    """
    chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
    for sampler in _samplers(sampling, vocab_size, context):
        llama.llama_sampler_chain_add(chain, sampler)
    return chain


def _samplers(sampling: Sampling, vocab_size: int, context: int) -> list[Any]:
    samplers = []
    if sampling.presence_penalty or sampling.frequency_penalty:
        samplers.append(
            llama.llama_sampler_init_penalties(
                vocab_size,
                context,
                _NO_REPEAT_PENALTY,
                sampling.frequency_penalty,
                sampling.presence_penalty,
            )
        )
    if sampling.temperature == 0:
        return [*samplers, llama.llama_sampler_init_greedy()]
    seed = secrets.randbelow(_SEED_RANGE) if sampling.seed is None else sampling.seed % _SEED_RANGE
    if sampling.top_k > 0:
        samplers.append(llama.llama_sampler_init_top_k(sampling.top_k))
    if sampling.top_p < 1:
        samplers.append(llama.llama_sampler_init_top_p(sampling.top_p, _MIN_KEEP))
    if sampling.min_p > 0:
        samplers.append(llama.llama_sampler_init_min_p(sampling.min_p, _MIN_KEEP))
    samplers.append(llama.llama_sampler_init_temp(sampling.temperature))
    samplers.append(llama.llama_sampler_init_dist(seed))
    return samplers
