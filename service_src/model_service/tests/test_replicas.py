"""Two processes of the service with one cache: what both are asked at once, one computes, and the other if it dies."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from cache_stub import CacheStub
from flights import CHAT, bodies, statuses
from support import ServedModel, ask, wait_until

LONG = {"temperature": 0, "max_tokens": 120, "ignore_eos": True}


@pytest.fixture(scope="module")
def stub() -> Iterator[CacheStub]:
    with CacheStub() as stub:
        yield stub


@pytest.fixture(scope="module")
def processes(model_path: object, stub: CacheStub) -> Iterator[list[ServedModel]]:
    # The timeout is patient enough for a busy test machine.
    settings = {"MODEL_PATH": model_path, "MODEL_CACHE_URL": stub.url, "MODEL_CACHE_TIMEOUT_SECONDS": 2}
    with ServedModel(**settings) as one, ServedModel(**settings) as other:
        yield [one, other]


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def post(served: ServedModel, content: str, stream: bool) -> httpx.Response:
    return httpx.post(served.url + CHAT, json=ask(content, **LONG, stream=stream), timeout=120)


def total(processes: list[ServedModel], sample: str) -> float:
    return sum(served.metric(sample) for served in processes)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_eight_requests_over_two_processes_are_computed_once(
    processes: list[ServedModel], pool: ThreadPoolExecutor, stream: bool
) -> None:
    samples = [
        "llm_generation_tokens_total",
        'llm_request_success_total{finished_reason="length"}',
        *(f'llm_response_cache_total{{result="{result}"}}' for result in ("miss", "coalesced", "hit")),
    ]
    before = [total(processes, sample) for sample in samples]
    futures = [pool.submit(post, processes[number % 2], f"Say {stream}.", stream) for number in range(8)]
    answers = [future.result() for future in futures]
    assert len(bodies(answers)) == 1
    assert statuses(answers) == ["hit"] * 7 + ["miss"]
    tokens, computed, missed, coalesced, hit = [
        total(processes, sample) - first for sample, first in zip(samples, before, strict=True)
    ]
    assert (tokens, computed, missed) == (LONG["max_tokens"], 1, 1)
    assert coalesced > 0
    assert coalesced + hit == 7  # one that came late may have found it in the cache


def test_the_other_process_computes_when_the_first_is_killed(
    processes: list[ServedModel], stub: CacheStub, pool: ThreadPoolExecutor
) -> None:
    first, other = processes
    generated = [served.metric("llm_generation_tokens_total") for served in processes]
    lost = pool.submit(post, first, "Say goodbye.", False)
    wait_until(lambda: first.metric("llm_generation_tokens_total") > generated[0])
    waiting = [pool.submit(post, other, "Say goodbye.", stream) for stream in (False, True, False)]
    wait_until(lambda: stub.waiting > 0)
    first.kill()  # the last test of this file
    answers = [future.result() for future in waiting]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert statuses(answers) == ["hit", "hit", "miss"]
    assert other.metric("llm_generation_tokens_total") == generated[1] + LONG["max_tokens"]
    with pytest.raises(httpx.TransportError):
        lost.result()
