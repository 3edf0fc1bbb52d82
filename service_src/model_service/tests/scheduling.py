"""Driving a scheduler step by step, on a context that fails as told."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as TokenSequence
from dataclasses import replace

import numpy

from model_service.engine import Delta, Finished, GenerationRequest, Priority, Sampling
from model_service.llama.context import Context, ContextSize
from model_service.llama.model import Model
from model_service.llama.sampler import Logits
from model_service.llama.scheduler import Limits, Scheduler
from model_service.llama.sequence import Sequence

# One thread: two would wait for each other where something else runs beside the tests.
SIZE = ContextSize(slots=4, context=256, kv_tokens=1024, step_tokens=64, threads=1)
GREEDY = Sampling(temperature=0)
MOST_STEPS = 20_000
STORE_BYTES = 64 << 20
# This model's logits are about 20; a batch of another size moves them by up to 0.3, a wrong cell by many.
TIE = 0.5


class FaultyContext(Context):
    """A real context. ``fails`` gives a decode's status from its batch's tokens, 0 for what llama.cpp says itself;
    tokens of ``nan_after`` have NaN for logits.
    """

    def __init__(self, model: Model, size: ContextSize, fails: Callable[[list[int]], int] = lambda _: 0) -> None:
        super().__init__(model, size)
        self.fails = fails
        self.nan_after: set[int] = set()
        self.decodes = 0
        self._slots = size.slots
        self._tokens: list[int] = []
        self.batch_slots: list[int] = []  # of the parts of the last batch
        self.has_prompts = False  # whether one of them had more than one token

    def clear_batch(self) -> None:
        super().clear_batch()
        self._tokens = []
        self.batch_slots = []
        self.has_prompts = False

    def add(self, slot: int, position: int, tokens: TokenSequence[int], wants_logits: bool) -> int:
        self._tokens += tokens
        self.batch_slots.append(slot)
        self.has_prompts |= len(tokens) > 1
        return super().add(slot, position, tokens, wants_logits)

    def decode(self) -> int:
        self.decodes += 1
        return self.fails(self._tokens) or super().decode()

    def logits(self, index: int) -> Logits:
        logits = super().logits(index)
        return numpy.full_like(logits, numpy.nan) if self._tokens[index] in self.nan_after else logits

    @property
    def lengths(self) -> list[int]:
        """How many tokens llama.cpp has of each slot; of one cache for all, the scratch sequence last."""
        return [self.cache.length(slot) for slot in range(self._slots + (0 if self.cache.is_split else 1))]


class Bench:
    """A scheduler, its contexts, and the events of each sequence."""

    def __init__(
        self,
        model: Model,
        *,
        fails: Callable[[list[int]], int] = lambda _: 0,
        store_bytes: int = STORE_BYTES,
        queue_timeout_seconds: float = 3600,
        **size: int,
    ) -> None:
        self.model = model
        self.size = replace(SIZE, **size)
        self.contexts: list[FaultyContext] = []
        self._fails = fails
        self.scheduler = Scheduler(model, self.size, Limits(queue_timeout_seconds, store_bytes), self._make_context)

    def _make_context(self) -> Context:
        self.contexts.append(FaultyContext(self.model, self.size, self._fails))
        return self.contexts[-1]

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self.scheduler.close()

    @property
    def context(self) -> FaultyContext:
        return self.contexts[-1]

    def sequence(
        self,
        prompt: str | TokenSequence[int],
        max_tokens: int = 4,
        *,
        sampling: Sampling = GREEDY,
        tenant: str = "",
        priority: Priority = "interactive",
    ) -> Sequence:
        request = GenerationRequest("", sampling, max_tokens, tenant=tenant, priority=priority)
        if isinstance(prompt, str):
            tokens = self.model.tokenize(prompt, self.size.context)
        else:
            tokens = self.model.checked_tokens(prompt, self.size.context)
        return Sequence(request, tokens, min(max_tokens, self.size.context - len(tokens)), time.perf_counter())

    def add(self, *sequences: Sequence) -> None:
        for sequence in sequences:
            self.scheduler.add(sequence)

    def step(self, times: int = 1) -> None:
        for _ in range(times):
            self.scheduler.compute(self.scheduler.prepare())

    def run_until(self, condition: Callable[[], bool]) -> None:
        """Fails where it never holds; as each step computes something, so many are an endless loop."""
        for _ in range(MOST_STEPS):
            if condition():
                return
            self.step()
        raise AssertionError("the condition never held")

    def run(self) -> None:
        """Until nobody has anything left to do."""
        self.run_until(lambda: not self.scheduler.has_work)

    def ends(self, sequence: Sequence) -> list[type]:
        """What the sequence ended with: one thing, and nothing after it."""
        events = [event for owner, event in self.scheduler.outbox if owner is sequence]
        ends = [type(event) for event in events if isinstance(event, Finished | Exception)]
        assert not ends or isinstance(events[-1], Finished | Exception)
        return ends

    def text(self, sequence: Sequence) -> str:
        events = [event for owner, event in self.scheduler.outbox if owner is sequence]
        return "".join(event.text for event in events if isinstance(event, Delta))

    def finished(self, sequence: Sequence) -> Finished:
        (end,) = [event for owner, event in self.scheduler.outbox if owner is sequence and isinstance(event, Finished)]
        return end

    def assert_empty(self) -> None:
        """No sequence, no slot and no cell is left in use, neither by the scheduler's books nor by llama.cpp's."""
        assert self.scheduler.running == ()
        assert not self.scheduler.has_work
        assert self.scheduler.kv_tokens == 0
        assert not any(self.context.lengths)


def words(count: int, first: str = "word") -> str:
    """A prompt of about so many tokens; with different first words, prompts have nothing in common."""
    return first + " alpha" * count


def assert_same_save_ties(bench: Bench, one: list[int], other: list[int]) -> None:
    """Batches of other sizes change the last bits of the logits: where two are that close, either may be chosen."""
    if one == other:
        return
    at = next(at for at, pair in enumerate(zip(one, other, strict=True)) if pair[0] != pair[1])
    logits = _logits_after(bench, one[:at])
    assert abs(logits[one[at]] - logits[other[at]]) < TIE
    assert min(logits[one[at]], logits[other[at]]) >= numpy.sort(logits)[-2] - TIE


def _logits_after(bench: Bench, tokens: list[int]) -> Logits:
    context, step = bench.context, bench.size.step_tokens
    for start in range(0, len(tokens), step):
        context.clear_batch()
        index = context.add(0, start, tokens[start : start + step], wants_logits=True)
        assert context.decode() == 0
    logits = context.logits(index).copy()
    context.cache.clear(0)
    return logits
