"""The engine on a real model: what is computed side by side is what would be computed alone."""

from __future__ import annotations

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, replace

import pytest
from conftest import StartEngine
from support import settle

from model_service.engine import (
    Delta,
    Engine,
    Finished,
    GenerationRequest,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    PromptTooLongError,
    Sampling,
    Started,
)

GREEDY = Sampling(temperature=0)
COUNT = "One, two, three, four, five,"
PROMPTS = [
    COUNT,
    "The capital of France is",
    "Roses are red, violets are",
    "A, B, C, D, E, F, G,",
    "Monday, Tuesday, Wednesday,",
    "To be, or not to be,",
    "The quick brown fox",
    "Once upon a time, there was a",
]


@dataclass
class Outcome:
    text: str
    deltas: int
    end: Finished


async def run(engine: Engine, request: GenerationRequest) -> Outcome:
    text, deltas = "", 0
    async with aclosing(engine.submit(request)) as events:
        async for event in events:
            if isinstance(event, Delta):
                text += event.text
                deltas += 1
            elif isinstance(event, Finished):
                return Outcome(text, deltas, event)
    raise AssertionError("no end")


def greedy(prompt: str, max_tokens: int | None = 16, stop: tuple[str, ...] = ()) -> GenerationRequest:
    return GenerationRequest(prompt, GREEDY, max_tokens, stop)


async def is_idle(engine: Engine) -> None:
    await settle(lambda: engine.stats().running == 0 and engine.stats().kv_usage == 0)


async def test_greedy_decoding_gives_the_same_text_each_time(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        first, second = [await run(engine, greedy(COUNT)) for _ in range(2)]
    assert " six, seven, eight" in first.text
    assert (first.text, first.end.generated_tokens) == (second.text, second.end.generated_tokens)


async def test_side_by_side_gives_what_each_gives_alone(start_engine: StartEngine) -> None:
    async with start_engine(slots=4) as engine:
        alone = [(await run(engine, greedy(prompt, 12))).text for prompt in PROMPTS]
        together = await asyncio.gather(*(run(engine, greedy(prompt, 12)) for prompt in PROMPTS))
        await is_idle(engine)
    # Batch sizes change the last bits of the logits, so a tie may fall the other way; not more than one.
    same = sum(one == other.text for one, other in zip(alone, together, strict=True))
    assert same >= len(PROMPTS) - 1


async def test_a_prompt_computed_in_chunks_beside_others_gives_what_one_step_does(
    start_engine: StartEngine,
) -> None:
    long_prompt = "Apples are red. Bananas are yellow. " * 30 + COUNT
    async with start_engine(step_tokens=512) as engine:
        at_once = await run(engine, greedy(long_prompt, 8))
    async with start_engine(step_tokens=64) as engine:
        chunked, short = await asyncio.gather(run(engine, greedy(long_prompt, 8)), run(engine, greedy(COUNT, 8)))
    assert chunked.end.prompt_tokens == at_once.end.prompt_tokens > 256
    assert chunked.text == at_once.text
    assert " six, seven" in short.text


async def test_the_answer_ends_at_max_tokens_and_says_so(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        outcome = await run(engine, greedy(COUNT, 5))
    assert outcome.end.reason == "length"
    assert outcome.end.generated_tokens == outcome.deltas == 5


async def test_the_answer_ends_where_the_context_does(start_engine: StartEngine) -> None:
    async with start_engine(context=128) as engine:
        outcome = await run(engine, greedy(COUNT, None))
    assert outcome.end.reason == "length"
    assert outcome.end.prompt_tokens + outcome.end.generated_tokens == 128


async def test_the_answer_ends_before_a_stop_string(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        outcome = await run(engine, greedy(COUNT, 40, stop=("never", "nine, ten")))
    assert outcome.text == " six, seven, eight, "
    assert outcome.end.reason == "stop"


async def test_special_tokens_end_the_answer_and_are_not_in_it(start_engine: StartEngine) -> None:
    prompt = "<|im_start|>user\nSay hi.<|im_end|>\n<|im_start|>assistant\n"
    async with start_engine() as engine:
        outcome = await run(engine, greedy(prompt, 200))
    assert outcome.end.reason == "stop"
    assert "<|" not in outcome.text


async def test_a_seed_repeats_an_answer_and_another_one_changes_it(start_engine: StartEngine) -> None:
    def seeded(seed: int) -> GenerationRequest:
        return GenerationRequest("Once upon a time", Sampling(temperature=1.5, seed=seed), 24)

    async with start_engine() as engine:
        texts = [(await run(engine, seeded(seed))).text for seed in (7, 7, 8, 2**32 - 1, -1)]
    assert texts[0] == texts[1]
    assert len(set(texts)) >= 3


async def test_a_frequency_penalty_breaks_a_repetition(start_engine: StartEngine) -> None:
    penalized = GenerationRequest(COUNT, Sampling(temperature=0, frequency_penalty=2), 24)
    async with start_engine() as engine:
        plain, varied = await run(engine, greedy(COUNT, 24)), await run(engine, penalized)
    assert plain.text.count(",") > 8
    assert varied.text.count(",") < plain.text.count(",")


@pytest.mark.parametrize("prompt", ["word " * 600, "<|im_start|>" * 50_000], ids=["by tokens", "by bytes"])
async def test_a_prompt_longer_than_the_context_is_refused(start_engine: StartEngine, prompt: str) -> None:
    async with start_engine() as engine:
        started = time.perf_counter()
        with pytest.raises(PromptTooLongError, match="512 tokens"):
            await run(engine, greedy(prompt))
        assert time.perf_counter() - started < 30
        assert engine.stats().running == engine.stats().waiting == 0
        assert (await run(engine, greedy(COUNT))).text


@pytest.mark.parametrize("events_until_gone", [1, 3])
async def test_a_request_that_is_left_frees_its_slot(start_engine: StartEngine, events_until_gone: int) -> None:
    async with start_engine(slots=1) as engine:
        async with aclosing(engine.submit(greedy("word " * 200, None))) as events:
            for _ in range(events_until_gone):
                await anext(events)
        await is_idle(engine)
        assert (await run(engine, greedy(COUNT))).end.generated_tokens == 16


async def test_a_request_that_is_left_in_the_queue_leaves_it(start_engine: StartEngine) -> None:
    async with start_engine(slots=1) as engine:
        async with aclosing(engine.submit(greedy(COUNT, None))) as events:
            await anext(events)
            waiting = asyncio.create_task(run(engine, greedy(COUNT)))
            await settle(lambda: engine.stats().waiting == 1)
            waiting.cancel()
            await settle(lambda: engine.stats().waiting == 0)
        await is_idle(engine)


async def test_requests_beyond_the_queue_are_refused_at_once(start_engine: StartEngine) -> None:
    async with start_engine(slots=1, queue_limit=1) as engine:
        busy = asyncio.create_task(run(engine, greedy(COUNT, 200)))
        await settle(lambda: engine.stats().running == 1)
        waiting = asyncio.create_task(run(engine, greedy(COUNT, 4)))
        await settle(lambda: engine.stats().waiting == 1)
        started = time.perf_counter()
        with pytest.raises(OverloadedError) as caught:
            await run(engine, greedy(COUNT))
        assert time.perf_counter() - started < 20
        assert caught.value.reason == "queue_full"
        assert 1 <= caught.value.retry_after <= 60
        busy.cancel()
        assert (await waiting).end.generated_tokens == 4


async def test_batch_requests_take_no_place_from_interactive_ones(start_engine: StartEngine) -> None:
    batch = replace(greedy(COUNT, 200), priority="batch")
    async with start_engine(slots=1, queue_limit=1) as engine:
        waiting = [asyncio.create_task(run(engine, batch)) for _ in range(2)]
        await settle(lambda: engine.stats().running == engine.stats().waiting == 1)
        with pytest.raises(OverloadedError):
            await run(engine, batch)
        assert (await run(engine, greedy(COUNT, 4))).end.generated_tokens == 4
        assert not any(task.done() for task in waiting)
        for task in waiting:
            task.cancel()


async def test_leaving_ends_the_step_that_computes_the_prompt(start_engine: StartEngine) -> None:
    async with start_engine(context=2048, step_tokens=2048) as engine:
        async with aclosing(engine.submit(greedy("word " * 1900, 4))) as events:
            left = asyncio.create_task(anext(events))
            assert engine._scheduler is not None
            while not engine._scheduler.prefilling:
                await asyncio.sleep(0.001)
            left.cancel()
            await asyncio.wait([left])
        await is_idle(engine)
        assert engine.stats().prompt_tokens_computed == 0
        assert " six, seven" in (await run(engine, greedy(COUNT, 8))).text


async def test_a_request_waits_in_the_queue_for_a_limited_time(start_engine: StartEngine) -> None:
    async with start_engine(slots=1, queue_timeout_seconds=0.2) as engine:
        async with aclosing(engine.submit(greedy(COUNT, None))) as events:
            assert isinstance(await anext(events), Started)
            with pytest.raises(OverloadedError) as caught:
                await run(engine, greedy(COUNT))
        assert caught.value.reason == "queue_timeout"


async def test_a_request_that_would_wait_in_vain_is_refused_at_once(start_engine: StartEngine) -> None:
    usual = greedy(COUNT, 64)
    async with start_engine(slots=1) as engine:
        started = time.perf_counter()
        await run(engine, usual)
        seconds = time.perf_counter() - started
    # A third of that is too short to wait for; ten times as long, which batch requests have, is not.
    async with start_engine(slots=1, queue_timeout_seconds=seconds / 3) as engine:
        await run(engine, usual)  # so it knows how long requests take; before, nobody is refused
        async with aclosing(engine.submit(greedy(COUNT, None))) as events:
            assert isinstance(await anext(events), Started)
            with pytest.raises(OverloadedError, match="none for this request within") as caught:
                await run(engine, greedy(COUNT))
            assert caught.value.reason == "queue_full"
            patient = asyncio.create_task(run(engine, replace(greedy(COUNT), priority="batch")))
            await settle(lambda: engine.stats().waiting == 1)
        assert (await patient).end.generated_tokens


async def test_closing_ends_what_still_runs(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        request = asyncio.create_task(run(engine, greedy(COUNT, None)))
        await settle(lambda: engine.stats().running == 1)
        await engine.close()
        with pytest.raises(NotReadyError):
            await request
        with pytest.raises(NotReadyError):
            await run(engine, greedy(COUNT))


@pytest.mark.parametrize("prompt", ["", ()], ids=["text", "tokens"])
async def test_an_empty_prompt_is_refused(start_engine: StartEngine, prompt: str | tuple[int, ...]) -> None:
    async with start_engine() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await run(engine, GenerationRequest(prompt, GREEDY, 4))
        assert caught.value.param == "prompt"
        assert (await run(engine, greedy(COUNT, 4))).text


@pytest.mark.parametrize("text", ["half a \ud800 pair", "\udfff"])
async def test_half_a_surrogate_pair_is_refused(start_engine: StartEngine, text: str) -> None:
    async with start_engine() as engine:
        with pytest.raises(InvalidRequestError):
            await run(engine, greedy(text))
        with pytest.raises(InvalidRequestError):
            await run(engine, GenerationRequest(COUNT, Sampling(grammar=f'root ::= "{text}'), 4))
        assert engine.stats().waiting == 0


async def test_unknown_tokens_are_refused(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        for token in (-1, 49_152, 2**31, 2**70):
            with pytest.raises(InvalidRequestError, match=str(token)):
                await run(engine, GenerationRequest((1, token), GREEDY, 4))


async def test_no_request_is_longer_than_all_cells_together(start_engine: StartEngine) -> None:
    async with start_engine(slots=2, context=512, kv_tokens=256) as engine:
        assert engine.facts.context == 256
        with pytest.raises(PromptTooLongError, match="256 tokens"):
            await run(engine, greedy("word " * 300))
        outcomes = await asyncio.gather(*(run(engine, greedy("word " * count, None)) for count in (230, 200)))
        assert [outcome.end.prompt_tokens + outcome.end.generated_tokens for outcome in outcomes] == [256, 256]
        await is_idle(engine)


async def test_hostile_grammars_do_not_keep_others_from_their_answers(start_engine: StartEngine) -> None:
    endless = "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1} | r{i + 1}\n" for i in range(60)) + 'r60 ::= "a"'
    async with start_engine(queue_limit=16) as engine:
        hostile = [run(engine, GenerationRequest(COUNT, Sampling(grammar=endless), 4)) for _ in range(8)]
        *refused, outcome = await asyncio.gather(*hostile, run(engine, greedy(COUNT, 4)), return_exceptions=True)
        assert [type(each) for each in refused] == [InvalidRequestError] * 8
        assert isinstance(outcome, Outcome)


async def test_requests_that_come_while_it_closes_are_refused(start_engine: StartEngine) -> None:
    async with start_engine(queue_limit=64) as engine:
        grammar = Sampling(temperature=0, grammar='root ::= "yes"')
        requests = [asyncio.create_task(run(engine, GenerationRequest(COUNT, grammar, 4))) for _ in range(8)]
        await asyncio.sleep(0)
        closing = asyncio.create_task(engine.close())
        await asyncio.sleep(0)
        requests += [asyncio.create_task(run(engine, greedy(COUNT, 4))) for _ in range(8)]
        await closing
        outcomes = await asyncio.gather(*requests, return_exceptions=True)
        assert all(isinstance(outcome, Outcome | NotReadyError) for outcome in outcomes)
        assert isinstance(outcomes[-1], NotReadyError)


@pytest.mark.parametrize("inputs", [[""], ["good", ""], [()], []], ids=["text", "one of two", "tokens", "none"])
async def test_an_empty_input_has_no_embedding_and_harms_nobody(
    start_engine: StartEngine, inputs: list[str | tuple[int, ...]]
) -> None:
    async with start_engine() as engine:
        with pytest.raises(InvalidRequestError):
            await engine.embed(inputs)
        assert (await engine.embed(["good"])).prompt_tokens > 0


@pytest.mark.parametrize("token", [-1, 49_152, 2**40])
async def test_a_bias_for_a_token_that_is_not_there_is_refused_and_harms_nobody(
    start_engine: StartEngine, token: int
) -> None:
    async with start_engine() as engine:
        with pytest.raises(InvalidRequestError) as caught:
            await run(engine, GenerationRequest(COUNT, Sampling(logit_bias=((token, 1.0),)), 4))
        assert caught.value.param == "logit_bias"
        assert (await run(engine, greedy(COUNT, 4))).text


async def test_embeddings_that_others_would_hold_up_for_too_long_are_refused_at_once(start_engine: StartEngine) -> None:
    many = [(1, 2, 3) * 10] * 2000
    async with start_engine(queue_timeout_seconds=1) as engine:
        await engine.embed(many[:4])  # from now on it knows how long a token takes
        first = asyncio.create_task(engine.embed(many))
        while not engine._embedding_jobs:
            await asyncio.sleep(0.001)
        with pytest.raises(OverloadedError, match="would hold this request up") as caught:
            await engine.embed(many)
        assert caught.value.reason == "queue_full"
        assert (await engine.embed([(1, 2)])).prompt_tokens == 2
        first.cancel()
        await asyncio.wait([first])


async def test_of_embeddings_that_come_together_only_those_get_in_that_have_time(start_engine: StartEngine) -> None:
    texts = ["One, two, three, four, five, six, seven, eight, nine, ten"] * 1000
    async with start_engine(queue_timeout_seconds=1) as engine:
        await engine.embed(texts[:4])
        together = [asyncio.create_task(engine.embed(texts)) for _ in range(4)]
        (first, *_), _ = await asyncio.wait(together, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(first.exception(), OverloadedError)
        for task in together:
            task.cancel()
        await asyncio.wait(together)


async def test_a_long_list_of_tokens_becomes_text_while_others_get_their_turn(start_engine: StartEngine) -> None:
    async with start_engine() as engine:
        becoming = asyncio.create_task(engine.detokenize([1, 2, 3] * 50_000))
        turns = 0
        while not becoming.done():
            await asyncio.sleep(0)
            turns += 1
        assert turns > 10
        assert becoming.result() == await engine.detokenize([1, 2, 3]) * 50_000
