"""Identical deterministic requests in flight together are computed once; whatever comes of it, all get an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from cache_stub import CacheStub
from fake_engine import FakeEngine
from flights import CHAT, Gate, Replicas, bodies, replicas, statuses
from support import ask, settle, wait_until

from model_service.engine import GenerationFailedError, GenerationRequest, Priority, Sampling
from model_service.generation import Generator
from model_service.response_cache import ResponseCache
from service_kit import http
from service_kit.metrics import REQUESTS_IN_FLIGHT


@pytest.fixture
def two() -> Iterator[Replicas]:
    assert REQUESTS_IN_FLIGHT._value.get() == 0
    with replicas() as made:
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_eight_requests_over_two_replicas_are_computed_once(two: Replicas, stream: bool) -> None:
    leader = two.lead(stream=stream)
    others = [two.post(number % 2, stream=stream) for number in range(7)]
    two.wait_for(in_flight=8)
    wait_until(lambda: two.stub.waiting == 1)  # the other replica asks for all of its own
    two.gate.is_open = True
    answers = [future.result() for future in [leader, *others]]
    assert two.computed == 1
    assert len(bodies(answers)) == 1
    assert b"lo" in answers[0].content
    assert statuses(answers) == ["hit"] * 7 + ["miss"]
    assert not two.stub.leases


def test_who_waits_with_a_stream_gets_keep_alives_and_then_the_whole() -> None:
    with replicas(keep_alive_seconds=0.05) as two:
        leader = two.lead(stream=True)
        for replica in (0, 1):
            body = ask(temperature=0, stream=True)
            headers = {"Authorization": "Bearer one"}
            with httpx.stream("POST", two.urls[replica] + CHAT, json=body, headers=headers, timeout=60) as stream:
                lines = stream.iter_lines()
                assert [next(lines) for _ in range(4)] == [": keep-alive", ""] * 2
                assert stream.headers["X-Cache"] == "hit"
                if replica == 1:
                    two.gate.is_open = True
                    rest = [line for line in lines if line.startswith("data")]
                    assert rest == [line for line in leader.result().text.splitlines() if line.startswith("data")]
        assert two.computed == 1


def test_a_stream_waits_for_a_whole_answer_and_the_other_way_round(two: Replicas) -> None:
    futures = [two.lead(stream=True), two.post(), two.post(1), two.post(1, stream=True)]
    two.wait_for(in_flight=4)
    two.gate.is_open = True
    assert statuses([future.result() for future in futures]) == ["hit", "hit", "hit", "miss"]
    assert two.computed == 1


def test_the_computation_goes_on_when_the_client_that_began_it_hangs_up(two: Replicas) -> None:
    with httpx.stream(
        "POST", two.urls[0] + CHAT, json=ask(temperature=0, stream=True), headers={"Authorization": "Bearer one"}
    ) as first:
        lines = first.iter_lines()
        next(lines)
        others = [two.post(), two.post(1)]
        two.wait_for(in_flight=3)
        wait_until(lambda: two.stub.waiting == 1)
    two.wait_for(in_flight=2)
    two.gate.is_open = True
    assert statuses([other.result() for other in others]) == ["hit", "hit"]
    assert two.computed == 1


def test_the_next_replica_computes_when_all_of_the_first_ones_clients_have_gone(two: Replicas) -> None:
    with httpx.stream(
        "POST", two.urls[0] + CHAT, json=ask(temperature=0, stream=True), headers={"Authorization": "Bearer one"}
    ) as first:
        lines = first.iter_lines()
        next(lines)
        other = two.post(1)
        wait_until(lambda: two.stub.waiting == 1)
    wait_until(lambda: len(two.engines[1].asked) == 1)
    assert two.engines[0].running == 0
    two.gate.is_open = True
    assert other.result().headers["X-Cache"] == "miss"


def test_a_waiter_that_hangs_up_changes_nothing_for_the_others(two: Replicas) -> None:
    leader = two.lead()
    for replica in (0, 1):
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(
                two.urls[replica] + CHAT,
                json=ask(temperature=0),
                headers={"Authorization": "Bearer one"},
                timeout=0.5,
            )
    other = two.post()
    two.wait_for(in_flight=2)
    two.gate.is_open = True
    assert statuses([leader.result(), other.result()]) == ["hit", "miss"]
    assert two.computed == 1


def test_an_error_is_only_for_the_one_that_computed(two: Replicas) -> None:
    two.gate.failure = GenerationFailedError("broken")
    leader = two.lead()
    others = [two.post(), two.post(), two.post(1)]
    two.wait_for(in_flight=4)
    wait_until(lambda: two.stub.waiting == 1)
    two.gate.is_open = True
    assert leader.result().status_code == 500
    assert [other.result().json()["choices"][0]["message"]["content"] for other in others] == ["Hello"] * 3
    assert not two.stub.leases


@pytest.mark.parametrize("fault", ["failing", "away"])
def test_a_cache_that_dies_meanwhile_has_the_others_computed_at_once(two: Replicas, fault: str) -> None:
    leader = two.lead()
    other = two.post(1)
    wait_until(lambda: two.stub.waiting == 1)
    if fault == "failing":
        two.stub.status = 500
    else:
        two.stub.hang_up()
    # It has not waited for the first one, which can't go on yet.
    wait_until(lambda: len(two.engines[1].asked) == 1)
    two.gate.is_open = True
    answers = [leader.result(), other.result()]
    assert [answer.json()["choices"][0]["message"]["content"] for answer in answers] == ["Hello"] * 2


def test_nobody_waits_for_longer_than_allowed() -> None:
    with replicas(wait_seconds=0.2) as two:
        leader = two.lead()
        others = [two.post(), two.post(1)]
        wait_until(lambda: two.computed == 3)
        two.gate.is_open = True
        assert statuses([future.result() for future in [leader, *others]]) == ["miss"] * 3


def test_a_cache_without_leases_costs_nothing_but_them(two: Replicas) -> None:
    two.stub.has_leases = False
    two.gate.is_open = True
    assert two.post().result().headers["X-Cache"] == "miss"
    assert two.post(1).result().headers["X-Cache"] == "hit"


def test_an_entry_that_came_after_the_look_is_taken(two: Replicas) -> None:
    two.gate.is_open = True
    made = two.post().result()
    two.stub.misses = 1  # as if the look had been before
    late = two.post(1).result()
    assert (late.headers["X-Cache"], late.content) == ("hit", made.content)
    assert two.computed == 1


@pytest.mark.parametrize(
    ("second", "key", "computed"),
    [
        ({"temperature": 1}, "one", 3),
        ({}, "two", 2),
        ({"max_tokens": 9}, "one", 2),
    ],
    ids=["drawn at random", "another tenant's", "another request"],
)
def test_what_is_not_the_same_is_computed_beside(
    two: Replicas, second: dict[str, object], key: str, computed: int
) -> None:
    first = second if "temperature" in second else {}
    futures = [two.lead(**first)]
    futures += [two.post(replica, key=key, **second) for replica in (0, 1)]
    wait_until(lambda: two.computed == computed)
    two.gate.is_open = True
    for future in futures:
        assert future.result().status_code == 200
    assert two.computed == computed


def test_nobody_waits_for_a_request_that_may_wait_for_everybody(two: Replicas) -> None:
    futures = [two.lead(service_tier="flex"), two.lead(), two.post(service_tier="flex")]
    two.wait_for(in_flight=3)
    two.gate.is_open = True
    answers = [future.result() for future in futures]
    assert statuses(answers) == ["hit", "miss", "miss"]
    assert two.computed == 2


def _request(priority: Priority = "interactive") -> GenerationRequest:
    return GenerationRequest(prompt="x", sampling=Sampling(temperature=0), max_tokens=8, priority=priority)


async def test_a_client_that_reads_slowly_holds_nobody_up() -> None:
    gate = Gate()
    gate.is_open = True
    with CacheStub() as stub:
        async with http.client(stub.url, timeout=2) as client:
            generator = Generator(FakeEngine(gate), ResponseCache(client, 60, 2.0), "m")
            plans = [await generator.plan("x", [_request()], 1, prompt_field="prompt") for _ in range(2)]
            slow = generator.reply(plans[0]).batches()
            read = await anext(slow)
            reply = generator.reply(plans[1])
            answer = await reply.whole()
            assert (reply.status, answer.header) == ("hit", plans[0].header)
            async for batch in slow:
                read += batch
            assert read == answer.events


async def test_leaving_before_the_end_ends_the_computation_and_its_lease() -> None:
    engine = FakeEngine(Gate())
    with CacheStub() as stub:
        async with http.client(stub.url, timeout=2) as client:
            generator = Generator(engine, ResponseCache(client, 60, 2.0), "m")
            plan = await generator.plan("x", [_request()], 1, prompt_field="prompt")
            waiting = [asyncio.create_task(generator.reply(plan).whole()) for _ in range(3)]
            await settle(lambda: engine.running == 1)
            assert len(stub.leases) == 1
            for task in waiting:
                assert engine.running == 1
                task.cancel()
                await asyncio.wait({task})
            assert engine.running == 0
            assert not stub.leases
            assert not stub.entries


async def test_the_lease_is_prolonged_while_it_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("model_service.single_flight.LEASE_SECONDS", 0.6)
    gate = Gate()
    with CacheStub() as stub:
        async with http.client(stub.url, timeout=2) as client:
            generator = Generator(FakeEngine(gate), ResponseCache(client, 60, 2.0), "m")
            plan = await generator.plan("x", [_request()], 1, prompt_field="prompt")
            computing = asyncio.create_task(generator.reply(plan).whole())
            await settle(lambda: bool(stub.leases))
            (first,) = stub.leases.values()
            await settle(lambda: [end for _, end in stub.leases.values()] > [first[1] + 0.6])
            assert [owner for owner, _ in stub.leases.values()] == [first[0]]
            gate.is_open = True
            await computing
