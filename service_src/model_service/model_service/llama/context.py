"""The KV cache and the batch of one llama.cpp context. One thread only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from model_service.llama.bindings import llama
from model_service.llama.model import Model, ModelError

KV_TYPES = {"f16": llama.GGML_TYPE_F16, "q8_0": llama.GGML_TYPE_Q8_0}


@dataclass(frozen=True, slots=True)
class ContextSize:
    """``context``: tokens of one sequence; ``step_tokens``: the most tokens computed in one step.

    ``kv_type`` is the type of the KV cache's elements, a key of ``KV_TYPES``.
    """

    slots: int
    context: int
    step_tokens: int
    threads: int
    kv_type: str = "f16"


class Context:
    """``slots`` sequences, each with its own part of the KV cache.

    Split KV, as decoding sequences that share nothing is a fifth faster with it than with a unified one.
    """

    def __init__(self, model: Model, size: ContextSize) -> None:
        params = llama.llama_context_default_params()
        params.n_ctx = size.slots * size.context
        params.n_seq_max = size.slots
        params.kv_unified = False
        params.n_batch = params.n_ubatch = size.step_tokens
        params.n_outputs_max = size.slots
        params.type_k = params.type_v = KV_TYPES[size.kv_type]
        params.n_threads = params.n_threads_batch = size.threads
        params.no_perf = True
        self._handle = llama.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise ModelError(
                f"llama.cpp cannot make a context of {size.slots} x {size.context} tokens "
                f"and a KV cache of type {size.kv_type}; lower MODEL_SLOTS or MODEL_CONTEXT, or give it more memory"
            )
        self._memory = llama.llama_get_memory(self._handle)
        self._batch = llama.llama_batch_init(size.step_tokens, 0, 1)

    def clear_batch(self) -> None:
        self._batch.n_tokens = 0

    def add(self, slot: int, position: int, tokens: Sequence[int], wants_logits: bool) -> int:
        """Adds tokens of one sequence to the batch; returns the index whose logits can be sampled."""
        batch = self._batch
        index: int = batch.n_tokens
        for offset, token in enumerate(tokens):
            batch.token[index] = token
            batch.pos[index] = position + offset
            batch.n_seq_id[index] = 1
            batch.seq_id[index][0] = slot
            batch.logits[index] = False
            index += 1
        batch.logits[index - 1] = wants_logits
        batch.n_tokens = index
        return index - 1

    def decode(self) -> int:
        """llama_decode's own status: 0 is good, below -1 the context is lost, else it is as before."""
        status: int = llama.llama_decode(self._handle, self._batch)
        return status

    def sample(self, chain: Any, index: int) -> int:
        """The next token after the batch's token ``index``, which the chain takes note of."""
        token: int = llama.llama_sampler_sample(chain, self._handle, index)
        return token

    def clear_slot(self, slot: int) -> None:
        llama.llama_memory_seq_rm(self._memory, slot, -1, -1)

    def close(self) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._handle)
