"""An answer that was kept is the answer that was computed."""

from __future__ import annotations

from model_service.answers import Answer, Header, choices_of, timings_of, usage_of
from model_service.engine import Delta, Finished, Logprobs, Started, TokenLogprob
from model_service.merge import Batch

HEADER = Header(id="chatcmpl-1", created=1, model="m")


def finished(prompt: int, cached: int, generated: int, seconds: float) -> Finished:
    return Finished("stop", prompt, cached, 0.5, generated, seconds)


EVENTS: Batch = [
    (1, Started(10, 4, 0.1)),
    (0, Started(10, 0, 0.0)),
    (0, Delta("é")),
    (1, Delta("x", Logprobs(TokenLogprob(5, b"\xc3", -0.25), (TokenLogprob(6, b"\xff\x00", -1.0),)))),
    (0, Delta("")),
    (0, finished(10, 0, 2, 1.0)),
    (1, finished(10, 4, 1, 0.0)),
]


def test_it_comes_out_of_the_cache_as_it_went_in() -> None:
    answer = Answer(header=HEADER, n=2, events=EVENTS)
    kept = Answer.model_validate_json(answer.model_dump_json())
    assert kept.events == EVENTS
    assert kept == answer


def test_its_choices_are_in_order_with_their_own_deltas() -> None:
    first, second = choices_of(EVENTS)
    assert (first.text, second.text) == ("é", "x")
    assert (len(first.deltas), first.end.generated_tokens) == (2, 2)


def test_usage_counts_a_prompt_once_and_what_was_computed_of_it() -> None:
    ends = [finished(10, 0, 3, 1), finished(10, 9, 4, 2), finished(7, 5, 1, 1), finished(7, 6, 2, 1)]
    usage = usage_of(ends, 2)
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (17, 10, 27)
    assert usage.prompt_tokens_details.cached_tokens == 0 + 5


def test_timings_are_those_of_choices_side_by_side() -> None:
    timings = timings_of([finished(10, 0, 3, 1.0), finished(10, 9, 5, 2.0)], 2)
    assert (timings.prompt_n, timings.predicted_n, timings.predicted_ms) == (10, 8, 2000)
    assert timings.predicted_per_second == 3.0
