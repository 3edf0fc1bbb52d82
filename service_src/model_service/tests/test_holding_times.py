from __future__ import annotations

import pytest

from model_service.llama.holding_times import HoldingTimes


def known(*seconds: float) -> HoldingTimes:
    times = HoldingTimes()
    for each in seconds:
        times.add(each)
    return times


def test_as_long_as_nothing_is_known_nobody_is_refused() -> None:
    assert known().frees_within(0.1, [0.0] * 16) == float("inf")
    assert known().mean == 1.0


def test_requests_that_began_together_end_together() -> None:
    times = known(*[3.0] * 8)
    assert times.frees_within(1.0, [0.5] * 16) == 0
    assert times.frees_within(1.0, [2.5] * 16) == 16
    assert times.frees_within(1.0, [0.5] * 12 + [2.5] * 4) == 4


def test_at_random_less_than_the_mean_is_counted_on() -> None:
    # Each of 16 slots gets free with a probability of 1/4: 4 of them, with a standard deviation of 1.7.
    times = known(0.5, 2.0, 2.0, 2.0)
    assert times.frees_within(1.0, [0.0] * 16) == pytest.approx(4 - 3**0.5)


def test_in_a_long_time_a_slot_gets_free_more_than_once() -> None:
    assert known(2.0, 4.0).frees_within(30.0, [0.0] * 4) == 4 * (10 - 1)


def test_who_takes_longer_than_any_before_is_not_counted_on() -> None:
    assert known(1.0, 2.0).frees_within(0.5, [10.0, 10.0]) == 0


def test_the_last_64_count() -> None:
    assert known(*[100.0] * 64, *[1.0] * 64).mean == 1.0
