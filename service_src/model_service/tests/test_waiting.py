"""Who goes next: interactive before batch, but nobody waits for ever."""

from __future__ import annotations

import random

import numpy
import pytest

from model_service.engine import GenerationRequest, Priority
from model_service.llama.sequence import Sequence
from model_service.llama.waiting import BATCH_PATIENCE, WaitingQueue, longest_wait_seconds, patience_seconds

TIMEOUT = 30.0


def sequence(submitted_at: float, priority: Priority = "interactive", started_at: float = 0.0) -> Sequence:
    request = GenerationRequest("", priority=priority)
    made = Sequence(request, numpy.array([1], dtype=numpy.int32), 1, submitted_at)
    made.started_at = started_at
    return made


def order(queue: WaitingQueue) -> list[Sequence]:
    taken = []
    while queue:
        taken.append(queue.first)
        queue.remove(queue.first)
    return taken


def queue_of(*sequences: Sequence) -> WaitingQueue:
    queue = WaitingQueue(TIMEOUT)
    for each in sequences:
        queue.add(each)
    return queue


def test_first_come_first_served() -> None:
    early, middle, late = (sequence(at) for at in (1, 2, 3))
    assert order(queue_of(middle, late, early)) == [early, middle, late]


def test_those_of_the_same_moment_stay_in_order() -> None:
    requests = [sequence(1) for _ in range(20)]
    assert order(queue_of(*requests)) == requests


def test_interactive_requests_go_before_batch_ones() -> None:
    batch, interactive = sequence(1, "batch"), sequence(2)
    assert order(queue_of(batch, interactive)) == [interactive, batch]


def test_a_batch_request_that_has_waited_long_goes_before_those_that_come_then() -> None:
    batch, late = sequence(1, "batch"), sequence(1 + TIMEOUT + 1)
    assert order(queue_of(batch, late)) == [batch, late]


def test_a_paused_request_goes_before_all_that_came_later() -> None:
    paused = sequence(1, started_at=2)
    others = [sequence(at) for at in (3, 4)]
    assert order(queue_of(*others, paused)) == [paused, *others]


def test_a_paused_batch_request_still_goes_behind_interactive_ones() -> None:
    paused, interactive = sequence(1, "batch", started_at=2), sequence(5)
    assert order(queue_of(paused, interactive)) == [interactive, paused]


def test_nobody_starves_however_many_come() -> None:
    """With a new interactive request in each second and a slot in each second, batch requests get theirs."""
    queue = queue_of(*(sequence(0.5, "batch") for _ in range(5)))
    chance = random.Random(1)
    served_batch = []
    for now in range(1, 200):
        for _ in range(chance.choice([1, 1, 1, 2]) if now % 40 else 0):
            queue.add(sequence(now + 0.25))
        if queue:
            first = queue.first
            queue.remove(first)
            if first.request.priority == "batch":
                served_batch.append(now)
    assert len(served_batch) == 5
    assert served_batch[0] >= TIMEOUT  # it isn't that they went first


def test_a_batch_request_yields_until_it_has_waited_its_time() -> None:
    queue = WaitingQueue(TIMEOUT)
    batch = sequence(100, "batch")
    assert queue.yields(batch, 100 + TIMEOUT - 1)
    assert not queue.yields(batch, 100 + TIMEOUT + 1)
    assert not queue.yields(sequence(100), 101)


@pytest.mark.parametrize(("priority", "patience"), [("interactive", TIMEOUT), ("batch", TIMEOUT * BATCH_PATIENCE)])
def test_who_was_let_in_waits_twice_as_long_as_it_was_expected_to(priority: Priority, patience: float) -> None:
    assert patience_seconds(priority, TIMEOUT) == patience
    longest = longest_wait_seconds(priority, TIMEOUT)
    assert longest == 2 * patience
    request = sequence(100, priority)
    queue = queue_of(request)
    assert queue.expired(100 + longest - 0.1) == []
    assert len(queue) == 1
    assert queue.expired(100 + longest + 0.1) == [request]
    assert not queue
    assert queue.expired(100 + longest + 1) == []


def test_who_had_a_slot_never_expires() -> None:
    paused = sequence(1, started_at=2)
    queue = queue_of(paused)
    assert queue.expired(1e9) == []
    assert queue.first is paused


def test_the_expired_leave_and_the_others_stay_in_order() -> None:
    requests = [sequence(at) for at in range(100, 140, 10)]
    queue = queue_of(*requests)
    assert queue.expired(115 + 2 * TIMEOUT) == requests[:2]
    assert order(queue) == requests[2:]


def test_it_forgets_who_is_removed_wherever_that_one_stands() -> None:
    requests = [sequence(1, "batch"), sequence(1), sequence(1), sequence(2, "batch")]
    queue = queue_of(*requests)
    queue.remove(requests[2])
    assert order(queue) == [requests[1], requests[0], requests[3]]
