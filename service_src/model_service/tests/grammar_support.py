"""Draws texts from a grammar as llama.cpp reads it: over a model's vocabulary, with random logits for a model."""

from __future__ import annotations

import ctypes
import random

import numpy

from model_service.llama.bindings import llama
from model_service.llama.model import Model

_TOKEN_DATA = numpy.dtype([("id", numpy.int32), ("logit", numpy.float32), ("p", numpy.float32)])
# What ends strings, numbers and arrays is as likely as all else together, so that a text ends.
_ENDINGS = ('"', '"}', "}", "]", '",', ",", '":', "}}", "]}")
_LONGEST_TOKENS = 600


class GrammarRefusedError(Exception):
    """llama.cpp can't parse the grammar."""


class GrammarTexts:
    """Random texts of any grammar."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self._pieces = [model.piece(token) for token in range(model.vocab_size)]
        self._ends = list(model.end_tokens)
        endings = {ending.encode() for ending in _ENDINGS}
        self._closing = [token for token, piece in enumerate(self._pieces) if piece in endings]

    def draw(self, grammar: str, seed: int, longest: int = _LONGEST_TOKENS) -> str | None:
        """A text of the grammar, None if it has not ended after ``longest`` tokens."""
        chain = llama.llama_sampler_init_grammar(self._model.vocab, grammar.encode(), b"root")
        if not chain:
            raise GrammarRefusedError(grammar)
        randomness = numpy.random.default_rng(seed)
        try:
            pieces = b""
            for count in range(longest):
                token = self._next(chain, randomness, count)
                if token in self._ends:
                    return pieces.decode()
                llama.llama_sampler_accept(chain, token)
                pieces += self._pieces[token]
            return None
        finally:
            llama.llama_sampler_free(chain)

    def _next(self, chain: object, randomness: numpy.random.Generator, count: int) -> int:
        # Few candidates, as asking for all takes milliseconds; all of them where none of the few fits.
        size = self._model.vocab_size
        few = [*randomness.integers(0, size, 400), *self._closing, *self._ends]
        for candidates in (numpy.array(few), numpy.arange(size)):
            data = numpy.zeros(len(candidates), dtype=_TOKEN_DATA)
            data["id"] = candidates
            data["logit"] = 1.0
            array = llama.llama_token_data_array()
            array.data = data.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
            array.size, array.selected, array.sorted = len(candidates), -1, False
            llama.llama_sampler_apply(chain, ctypes.byref(array))
            allowed = data["id"][data["logit"] > 0]
            if len(allowed):
                closing = [token for token in allowed if token in self._closing or token in self._ends]
                if closing and randomness.random() < 0.15 + count / 300:
                    return int(random.Random(int(randomness.integers(1 << 30))).choice(closing))
                return int(randomness.choice(allowed))
        raise AssertionError("the grammar allows no token")
