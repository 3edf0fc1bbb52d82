"""How a request's next token is chosen: llama.cpp's samplers, with shortcuts where they choose the same."""

from __future__ import annotations

import ctypes
import secrets
import time
from collections.abc import Callable
from typing import Any

import numpy
from numpy.typing import NDArray

from model_service.engine import InvalidRequestError, Logprobs, Sampling, TokenLogprob
from model_service.llama.bindings import llama
from model_service.llama.grammar_bounds import GrammarTooComplexError, check_bounds
from model_service.llama.model import Model

# llama.cpp takes the largest uint32 for "pick a seed yourself", so given seeds stay below it.
_SEED_RANGE = 0xFFFFFFFF
_NO_REPEAT_PENALTY = 1.0
_MIN_KEEP = 1
# Of CPU time for one token; where a grammar is ambiguous, each one can take a multiple of the one before.
_LONGEST_GRAMMAR_SECONDS = 0.5
# Of so many a grammar is asked before it is asked of all, which takes milliseconds.
_LIKELIEST = 256
_TOKEN_DATA = numpy.dtype([("id", numpy.int32), ("logit", numpy.float32), ("p", numpy.float32)])

Logits = NDArray[numpy.float32]


class SamplingError(Exception):
    """The logits, or the grammar, leave no token to choose."""


class Candidates:
    """Room for one token array, as llama.cpp's samplers take it; shared by all samplers of a thread."""

    def __init__(self, vocab_size: int) -> None:
        self._ids = numpy.arange(vocab_size, dtype=numpy.int32)
        self._all = numpy.zeros(vocab_size, dtype=_TOKEN_DATA)
        self._room: Any = self._all.ctypes.data_as(ctypes.POINTER(llama.llama_token_data))
        self._array = llama.llama_token_data_array()

    def choose(self, chain: Any, logits: Logits, grammar: Any = None) -> int:
        """The token that the chain selects of those that the grammar allows."""
        self._all["id"] = self._ids  # samplers sort it
        self._all["logit"] = logits
        if grammar is not None:
            self._apply(grammar, len(logits))
        self._apply(chain, len(logits))
        chosen = self._array.data[self._array.selected]
        if not chosen.logit > -numpy.inf:
            raise SamplingError("no token is left to choose")
        return int(chosen.id)

    def allows(self, grammar: Any, token: int) -> bool:
        """Whether the grammar can go on with this token: far cheaper than asking for all of them."""
        self._all[0] = (token, 1.0, 0.0)
        self._apply(grammar, 1)
        return bool(self._all["logit"][0] == 1.0)

    def best_allowed(self, grammar: Any, logits: Logits) -> int | None:
        """The likeliest token that the grammar allows, None if it allows none of the likeliest ones."""
        count = min(_LIKELIEST, len(logits))
        likeliest = numpy.argpartition(logits, -count)[-count:]
        ids = likeliest[numpy.argsort(-logits[likeliest], kind="stable")]
        self._all["id"][:count] = ids
        self._all["logit"][:count] = logits[ids]
        self._apply(grammar, count)
        allowed = self._all["logit"][:count] > -numpy.inf
        first = int(allowed.argmax())
        return int(ids[first]) if allowed[first] else None

    def _apply(self, sampler: Any, size: int) -> None:
        self._array.data = self._room
        self._array.size = size
        self._array.selected = -1
        self._array.sorted = False
        llama.llama_sampler_apply(sampler, ctypes.byref(self._array))


class Sampler:
    """The state of one request's sampling; ``close`` frees it. One thread only.

    A grammar is asked about the chosen token first; only if it forbids that one, about others.
    """

    def __init__(self, sampling: Sampling, model: Model, context: int, candidates: Candidates) -> None:
        self._candidates = candidates
        self._grammar = _grammar(sampling, model) if sampling.grammar is not None else None
        biases = dict(sampling.logit_bias)
        if sampling.ignore_eos:
            biases |= dict.fromkeys(model.end_tokens, -numpy.inf)
        self._biased = numpy.array(list(biases), dtype=numpy.intp)
        self._biases = numpy.array(list(biases.values()), dtype=numpy.float32)
        samplers = _samplers(sampling, model.vocab_size, context)
        self._chain = llama.llama_sampler_chain_init(llama.llama_sampler_chain_default_params())
        for sampler in samplers:
            llama.llama_sampler_chain_add(self._chain, sampler)
        # All that greedy sampling does, at a tenth of the time.
        self._is_argmax = sampling.temperature == 0 and len(samplers) == 1

    def choose(self, logits: Logits) -> int:
        """The next token, which the state takes note of; raises SamplingError."""
        if len(self._biased):
            logits = logits.copy()
            logits[self._biased] += self._biases
        best = int(logits.argmax())
        if not numpy.isfinite(logits[best]):  # NaN counts as the largest
            raise SamplingError(f"the model computed {logits[best]}")
        token = best if self._is_argmax else self._candidates.choose(self._chain, logits)
        if self._grammar is not None:
            token = self._follow_grammar(logits, token)
        if not self._is_argmax:
            llama.llama_sampler_accept(self._chain, token)
        return token

    def _follow_grammar(self, logits: Logits, token: int) -> int:
        started = time.thread_time()
        if not self._candidates.allows(self._grammar, token):
            best = self._candidates.best_allowed(self._grammar, logits) if self._is_argmax else None
            token = self._candidates.choose(self._chain, logits, self._grammar) if best is None else best
        llama.llama_sampler_accept(self._grammar, token)
        if time.thread_time() - started > _LONGEST_GRAMMAR_SECONDS:
            raise SamplingError("the grammar takes too long")
        return token

    def close(self) -> None:
        llama.llama_sampler_free(self._chain)
        if self._grammar is not None:
            llama.llama_sampler_free(self._grammar)


def check_logit_bias(sampling: Sampling, model: Model) -> None:
    """Raises InvalidRequestError for tokens that the model doesn't have."""
    unknown = [token for token, _ in sampling.logit_bias if not 0 <= token < model.vocab_size]
    if unknown:
        message = f"There is no token {unknown[0]}; this model has {model.vocab_size}"
        raise InvalidRequestError("logit_bias", message)


def check_grammar(sampling: Sampling, model: Model) -> None:
    """Raises InvalidRequestError where llama.cpp can't take the grammar. Thread-safe."""
    if sampling.grammar is not None:
        try:
            check_bounds(sampling.grammar)
        except GrammarTooComplexError as error:
            raise InvalidRequestError("grammar", f"The grammar can't be used: {error}") from error
        llama.llama_sampler_free(_grammar(sampling, model))


def _grammar(sampling: Sampling, model: Model) -> Any:
    assert sampling.grammar is not None
    text = sampling.grammar.encode(errors="replace")
    if not text or b"\0" in text:  # to llama.cpp, no grammar and the end of one
        grammar = None
    elif sampling.grammar_trigger is None:
        grammar = llama.llama_sampler_init_grammar(model.vocab, text, b"root")
    else:
        patterns = (ctypes.c_char_p * 1)(sampling.grammar_trigger.encode())
        grammar = llama.llama_sampler_init_grammar_lazy_patterns(model.vocab, text, b"root", patterns, 1, None, 0)
    if not grammar:
        raise InvalidRequestError("grammar", "The grammar can't be parsed; it is GBNF, and its first rule is root")
    return grammar


def _samplers(sampling: Sampling, vocab_size: int, context: int) -> list[Any]:
    """In llama.cpp's usual order. Penalties count what the request has generated, all of it, as OpenAI's do."""
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


def logprobs_of(logits: Logits, token: int, top: int, piece: Callable[[int], bytes]) -> Logprobs:
    """Of the chosen token and of the ``top`` likeliest ones; ``piece`` gives a token's bytes."""
    highest = logits.max()
    total = float(highest) + float(numpy.log(numpy.exp(logits - highest).sum(dtype=numpy.float64)))
    likeliest = numpy.argpartition(logits, -top)[-top:] if top else numpy.array([], dtype=numpy.int64)
    order = likeliest[numpy.argsort(-logits[likeliest], kind="stable")]

    def logprob(each: int) -> TokenLogprob:
        return TokenLogprob(each, piece(each), float(logits[each]) - total)

    return Logprobs(logprob(token), tuple(logprob(int(each)) for each in order))
