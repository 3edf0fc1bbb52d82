"""A request that can't be computed fails alone; a lost context fails what ran and is replaced."""

from __future__ import annotations

import time
from collections.abc import Callable
from collections.abc import Sequence as TokenSequence

from model_service.engine import Finished, GenerationFailedError, GenerationRequest, Sampling
from model_service.llama.context import Context, ContextSize
from model_service.llama.model import Model
from model_service.llama.scheduler import Limits, Scheduler
from model_service.llama.sequence import Sequence

SIZE = ContextSize(slots=3, context=256, kv_tokens=768, step_tokens=64, threads=2)
LIMITS = Limits(queue_timeout_seconds=60, prefix_store_bytes=1 << 20)
POISON = "poison"


class FaultyContext(Context):
    """A real context whose decode fails as told: `fails` gets the tokens of the batch."""

    def __init__(self, model: Model, fails: Callable[[list[int]], int]) -> None:
        super().__init__(model, SIZE)
        self._fails = fails
        self._tokens: list[int] = []

    def clear_batch(self) -> None:
        super().clear_batch()
        self._tokens = []

    def add(self, slot: int, position: int, tokens: TokenSequence[int], wants_logits: bool) -> int:
        self._tokens += tokens
        return super().add(slot, position, tokens, wants_logits)

    def decode(self) -> int:
        return self._fails(self._tokens) or super().decode()


def sequence(model: Model, prompt: str, max_tokens: int = 4) -> Sequence:
    request = GenerationRequest(prompt, Sampling(temperature=0), max_tokens)
    return Sequence(request, model.tokenize(prompt, SIZE.context), max_tokens, time.perf_counter())


def run_all(scheduler: Scheduler) -> None:
    while scheduler.has_work:
        scheduler.step()


def ends(scheduler: Scheduler, sequence: Sequence) -> list[type]:
    return [
        type(event)
        for owner, event in scheduler.outbox
        if owner is sequence and isinstance(event, Finished | Exception)
    ]


def test_a_request_that_cannot_be_decoded_fails_alone(model: Model) -> None:
    poison = model.tokenize(POISON, 64)[0]
    scheduler = Scheduler(model, SIZE, LIMITS, lambda: FaultyContext(model, lambda tokens: int(poison in tokens)))
    good, bad, other = (sequence(model, prompt) for prompt in ("One, two,", POISON, "A, B,"))
    for each in (good, bad, other):
        scheduler.add(each)
    run_all(scheduler)
    assert ends(scheduler, bad) == [GenerationFailedError]
    assert ends(scheduler, good) == ends(scheduler, other) == [Finished]
    assert scheduler.running == ()
    assert scheduler.kv_tokens == 0
    scheduler.close()


def test_a_lost_context_is_replaced_and_the_waiting_go_on(model: Model) -> None:
    made: list[FaultyContext] = []

    def make_context() -> Context:
        status = 0 if made else -3  # only the first context is broken
        made.append(FaultyContext(model, lambda _tokens: status))
        return made[-1]

    scheduler = Scheduler(model, SIZE, LIMITS, make_context)
    requests = [sequence(model, "One, two,") for _ in range(SIZE.slots + 1)]
    for each in requests:
        scheduler.add(each)
    run_all(scheduler)
    assert [ends(scheduler, each) for each in requests[:-1]] == [[GenerationFailedError]] * SIZE.slots
    assert ends(scheduler, requests[-1]) == [Finished]
    assert len(made) == 2
    scheduler.close()
