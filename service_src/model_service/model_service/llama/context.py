"""The batch of one llama.cpp context, and its KV cache. One thread only, save ``abort``."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy

from model_service.llama.bindings import llama
from model_service.llama.kv_cache import SplitCache, UnifiedCache
from model_service.llama.model import Model, ModelError
from model_service.llama.sampler import Logits

KV_TYPES = {"f16": llama.GGML_TYPE_F16, "q8_0": llama.GGML_TYPE_Q8_0}
ABORTED = 2  # llama_decode's status
# llama.cpp asks between any two operations of a decode, from one of its own threads, whether to go on. A function in
# Python would fetch the interpreter's lock each time, and wait for whoever has it. strlen of a buffer that begins with
# a zero byte is 0, "go on", and of one that holds one byte before it 1.
_is_set = ctypes.cast(ctypes.CDLL(None).strlen, llama.ggml_abort_callback)


@dataclass(frozen=True, slots=True)
class ContextSize:
    """``context``: tokens of one sequence; ``kv_tokens``: of all together; ``step_tokens``: the most in one step.

    ``kv_type`` is the type of the KV cache's elements, a key of ``KV_TYPES``.
    """

    slots: int
    context: int
    kv_tokens: int
    step_tokens: int
    threads: int
    kv_type: str = "f16"


class Context:
    """``slots`` sequences. ``cache`` is split where each has room for the longest anyway, else one pool for all."""

    def __init__(self, model: Model, size: ContextSize) -> None:
        params = llama.llama_context_default_params()
        is_split = size.kv_tokens >= size.slots * size.context and model.splits_cache
        params.n_ctx = size.slots * size.context if is_split else size.kv_tokens
        params.n_seq_max = size.slots + (0 if is_split else 1)  # one more, to save and restore through
        params.kv_unified = not is_split
        params.n_batch = params.n_ubatch = size.step_tokens
        params.n_outputs_max = size.slots + 1
        params.type_k = params.type_v = KV_TYPES[size.kv_type]
        params.n_threads = params.n_threads_batch = size.threads
        params.no_perf = True
        self._handle = llama.llama_init_from_model(model.handle, params)
        if not self._handle:
            raise ModelError(
                f"llama.cpp cannot make a KV cache of {size.kv_tokens} tokens and type {size.kv_type}; "
                "lower MODEL_KV_TOKENS, MODEL_SLOTS or MODEL_CONTEXT, or give it more memory"
            )
        self._model = model
        self.cache = SplitCache(self._handle) if is_split else UnifiedCache(self._handle, scratch=size.slots)
        self._batch = llama.llama_batch_init(size.step_tokens, 0, 1)
        self._adapter: str | None = None
        self._row_type = ctypes.c_float * model.vocab_size
        self._abort = ctypes.create_string_buffer(2)
        llama.llama_set_abort_callback(self._handle, _is_set, ctypes.addressof(self._abort))

    def use_adapter(self, name: str | None) -> None:
        """Computes what follows with this LoRA adapter of the model, or with none."""
        if name == self._adapter:
            return
        handles, scales = [], []
        if name is not None:
            handle, scale = self._model.adapters[name]
            handles, scales = [handle], [scale]
        count = len(handles)
        llama.llama_set_adapters_lora(
            self._handle,
            (llama.llama_adapter_lora_p_ctypes * count)(*handles),
            count,
            (ctypes.c_float * count)(*scales),
        )
        self._adapter = name

    def clear_batch(self) -> None:
        self._batch.n_tokens = 0

    def add(self, slot: int, position: int, tokens: Sequence[int], wants_logits: bool) -> int:
        """Adds tokens of one sequence to the batch; returns the index whose logits can be read."""
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
        """llama_decode's own status: 0 is good, below -1 the context is lost, ABORTED leaves a part of it computed."""
        self._abort[0] = b"\0"
        status: int = llama.llama_decode(self._handle, self._batch)
        return status

    def abort(self) -> None:
        """Has a decode that runs now end with ABORTED. From any thread."""
        self._abort[0] = b"\1"

    def logits(self, index: int) -> Logits:
        """A view of the logits after the batch's token ``index``, good until the next decode."""
        row = llama.llama_get_logits_ith(self._handle, index)
        # A tenth of the time that numpy takes to make an array of a pointer.
        floats: Any = self._row_type.from_address(ctypes.addressof(row.contents))
        return numpy.frombuffer(floats, dtype=numpy.float32)

    def close(self) -> None:
        llama.llama_batch_free(self._batch)
        llama.llama_free(self._handle)
