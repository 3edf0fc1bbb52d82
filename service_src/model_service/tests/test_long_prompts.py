"""Streams go on beside a long prompt, in a time of the test's own: what a decode takes is given, not measured."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest
from scheduling import Bench, words

from model_service.engine import Sampling
from model_service.llama import scheduler
from model_service.llama.model import Model
from model_service.llama.pace import STRETCH
from model_service.llama.sequence import Sequence

ENDLESS = Sampling(temperature=0, ignore_eos=True)
DECODE_SECONDS = 0.05
PROMPT_TOKENS = 900


class Clock:
    """Goes on by what a decode would take: each token of a prompt longer than the one before it, by those before."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.bench: Bench | None = None
        monkeypatch.setattr(scheduler, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def decode(self, tokens: list[int]) -> int:
        if self.bench is None or not self.bench.context.has_prompts:
            self.now += DECODE_SECONDS
            return 0
        (slot,) = set(self.bench.context.batch_slots)
        self.now += len(tokens) * 0.003 * (1 + self.bench.context.cache.length(slot) / 100)
        return 0


@pytest.mark.parametrize("kv_tokens", [4 * 1100, 3000], ids=["split", "unified"])
def test_streams_keep_half_of_the_time_however_slow_the_prompt_gets(
    model: Model, monkeypatch: pytest.MonkeyPatch, kv_tokens: int
) -> None:
    clock = Clock(monkeypatch)
    with Bench(model, fails=clock.decode, context=1100, kv_tokens=kv_tokens, step_tokens=512) as bench:
        streams = [bench.sequence(name, 1000, sampling=ENDLESS) for name in ("gold", "silver")]
        for stream in streams:
            bench.add(stream)
            bench.step()
        clock.bench = bench
        bench.step(8)
        prompt = bench.sequence(words(PROMPT_TOKENS), 4)
        bench.add(prompt)
        times = _times_of_tokens(bench, clock, streams, prompt)
    gaps = sorted(later - earlier for earlier, later in pairwise(times))
    assert gaps[-3] <= DECODE_SECONDS * (1 + STRETCH) * 1.35  # a token or two may be half a token too many
    # And the prompt gets its half, nearly: it doesn't starve.
    alone = 0.003 * sum(1 + at / 100 for at in range(PROMPT_TOKENS))
    assert times[-1] - times[0] <= 2.5 * alone


def _times_of_tokens(bench: Bench, clock: Clock, streams: list[Sequence], prompt: Sequence) -> list[float]:
    """When the first stream got its tokens, until the prompt's first one."""
    times, seen = [clock.now], streams[0].generated
    while not prompt.generated:
        bench.step()
        if streams[0].generated > seen:
            seen = streams[0].generated
            times.append(clock.now)
    return times
