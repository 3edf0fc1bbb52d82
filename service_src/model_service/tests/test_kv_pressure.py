"""Far fewer KV cells than all requests would fill: some wait, none fails, and each says what it would have said."""

from __future__ import annotations

import random

import pytest
from scheduling import Bench, assert_same_save_ties, words

from model_service.engine import Finished, Priority, Sampling
from model_service.llama.model import Model
from model_service.llama.sequence import Sequence

ENDLESS = Sampling(temperature=0, ignore_eos=True)
NAMES = ("gold", "silver", "iron", "copper", "lead", "tin")
ANSWER = 45
STORY = (
    "Once upon a time there was a small box made of {}. It stood on a shelf in the kitchen of an old house by the sea, "
    "and nobody had opened it for many years. One morning"
)
CROWDED = {"slots": 6, "context": 256, "kv_tokens": 256}


def contenders(bench: Bench, priorities: tuple[Priority, ...] = ("interactive",) * 6) -> list[Sequence]:
    """Six of about 80 tokens each when they end; 256 have room."""
    return [
        bench.sequence(STORY.format(name), ANSWER, sampling=ENDLESS, priority=priority)
        for name, priority in zip(NAMES, priorities, strict=True)
    ]


@pytest.mark.parametrize("store_bytes", [0, 64 << 20], ids=["computed anew", "from the store"])
def test_paused_requests_go_on_where_they_were(model: Model, store_bytes: int) -> None:
    with Bench(model, slots=6, context=256, kv_tokens=1536) as bench:
        undisturbed = contenders(bench)
        bench.add(*undisturbed)
        bench.run()
        assert bench.scheduler.counters.paused == 0
    with Bench(model, store_bytes=store_bytes, **CROWDED) as bench:
        crowded = contenders(bench)
        bench.add(*crowded)
        bench.run_until(lambda: bench.scheduler.counters.paused > 0)
        assert bench.scheduler.kv_tokens <= 256
        bench.run()
        assert [bench.ends(each) for each in crowded] == [[Finished]] * 6
        assert bench.scheduler.counters.failed == 0
        assert all(bench.finished(each).cached_tokens <= len(each.prompt) for each in crowded)
        bench.assert_empty()
        for one, other in zip(undisturbed, crowded, strict=True):
            assert len(other.tokens) - len(other.prompt) == other.generated == ANSWER
            assert_same_save_ties(bench, one.tokens, other.tokens)


def test_it_is_never_the_oldest_that_is_paused_and_nobody_all_the_time(model: Model) -> None:
    with Bench(model, **CROWDED) as bench:
        requests = contenders(bench)
        bench.add(*requests)
        bench.step()
        while bench.scheduler.has_work:
            paused_before = bench.scheduler.counters.paused
            oldest = min(bench.scheduler.running, key=lambda each: each.submitted_at, default=None)
            bench.step()
            if oldest and bench.scheduler.counters.paused > paused_before:
                assert oldest in bench.scheduler.running or bench.ends(oldest)
        # Who was paused comes back when there is room to get on, not to be paused in the next step.
        assert 0 < bench.scheduler.counters.paused <= 3 * len(requests)
        assert bench.scheduler.counters.prompt_tokens <= 4 * sum(len(each.tokens) for each in requests)
        firsts = [owner for owner, event in bench.scheduler.outbox if isinstance(event, Finished)]
        assert firsts[0] is requests[0]


def test_batch_requests_make_way_for_interactive_ones_and_still_finish(model: Model) -> None:
    with Bench(model, **CROWDED) as bench:
        *batch, _, _ = contenders(bench, ("batch",) * 6)
        bench.add(*batch)
        bench.run_until(lambda: sum(each.generated > 2 for each in bench.scheduler.running) >= 3)
        urgent = bench.sequence(words(150, "urgent"), 30, sampling=ENDLESS)
        bench.add(urgent)
        bench.step()
        assert urgent in bench.scheduler.running
        bench.run_until(lambda: bool(bench.ends(urgent)))
        assert not all(bench.ends(each) for each in batch)
        bench.run()
        assert [bench.ends(each) for each in batch] == [[Finished]] * 4
        bench.assert_empty()


def test_an_interactive_request_takes_the_slot_of_a_batch_one(model: Model) -> None:
    with Bench(model, slots=2) as bench:
        batch = [bench.sequence(words(20, name), 40, sampling=ENDLESS, priority="batch") for name in ("a", "b")]
        bench.add(*batch)
        bench.run_until(lambda: all(each.generated > 2 for each in batch))
        urgent = bench.sequence("One, two,", 5)
        bench.add(urgent)
        bench.step()
        assert bench.scheduler.running[0] is batch[0]  # the younger one made way
        bench.run()
        assert [bench.ends(each) for each in (*batch, urgent)] == [[Finished]] * 3
        assert bench.scheduler.counters.paused == 1


def test_batch_requests_are_the_first_to_be_paused_however_old_they_are(model: Model) -> None:
    with Bench(model, **CROWDED) as bench:
        requests = contenders(bench, ("batch", "batch", "interactive", "interactive", "interactive", "interactive"))
        bench.add(*requests[:2])
        bench.step()
        bench.add(*requests[2:])
        order = []
        while bench.scheduler.has_work:
            bench.step()
            order += [each for each in requests if bench.ends(each) and each not in order]
        assert set(order[-2:]) == set(requests[:2])
        assert [bench.ends(each) for each in requests] == [[Finished]] * 6


def test_a_request_that_needs_more_than_is_free_is_not_overtaken_for_ever(model: Model) -> None:
    with Bench(model, slots=4, context=256, kv_tokens=256) as bench:
        running = [bench.sequence(words(20, name), 30, sampling=ENDLESS) for name in NAMES[:3]]
        bench.add(*running)
        bench.step()
        large = bench.sequence(words(220), 10, sampling=ENDLESS)
        bench.add(large)
        later = []
        while not bench.ends(large):
            later.append(bench.sequence("One", 2, sampling=ENDLESS))
            bench.add(later[-1])
            bench.step()
            assert large.started_at or not any(each.started_at for each in later)
        assert not large.started_at > later[-1].submitted_at
        for each in later:
            bench.scheduler.cancel(each)
        bench.run()
        assert [bench.ends(each) for each in (*running, large)] == [[Finished]] * 4
        bench.assert_empty()


def test_a_request_of_all_cells_runs_alone(model: Model) -> None:
    with Bench(model, slots=4, context=256, kv_tokens=256) as bench:
        small = [bench.sequence(words(20, name), 20, sampling=ENDLESS) for name in NAMES[:2]]
        whole = bench.sequence(words(200), 1000, sampling=ENDLESS)
        bench.add(small[0], whole, small[1])
        bench.run()
        assert [bench.ends(each) for each in (*small, whole)] == [[Finished]] * 3
        assert len(whole.tokens) == 256
        bench.assert_empty()


@pytest.mark.parametrize("seed", range(3))
def test_any_mixture_ends_with_nothing_left(model: Model, seed: int) -> None:
    chance = random.Random(seed)
    with Bench(model, slots=5, context=128, kv_tokens=chance.choice([128, 160, 300]), step_tokens=64) as bench:
        shared = words(60)
        cancelled: set[Sequence] = set()
        requests: list[Sequence] = []
        for _ in range(16):
            prompt = chance.choice([shared + f" {chance.choice(NAMES)}", words(chance.randrange(1, 100), "other")])
            tenant, priority = chance.choice(["", "", "b"]), chance.choice(["interactive", "interactive", "batch"])
            request = bench.sequence(prompt, chance.randrange(1, 25), tenant=tenant, priority=priority)
            requests.append(request)
            bench.add(request)
            for _ in range(chance.randrange(6)):
                bench.step()
                assert bench.scheduler.kv_tokens <= bench.size.kv_tokens
                assert len(bench.scheduler.running) <= 5
                if chance.random() < 0.12:
                    gone = chance.choice(requests)
                    bench.scheduler.cancel(gone)
                    if not bench.ends(gone):
                        cancelled.add(gone)
        bench.run()
        assert [bench.ends(each) for each in requests] == [[] if each in cancelled else [Finished] for each in requests]
        assert bench.scheduler.counters.failed == 0
        bench.assert_empty()
