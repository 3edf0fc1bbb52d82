"""A request that can't be computed fails alone, whatever the reason; what is lost is made anew."""

from __future__ import annotations

import pytest
from scheduling import Bench, words

from model_service.engine import Finished, GenerationFailedError, InvalidRequestError, Sampling
from model_service.llama.context import ABORTED
from model_service.llama.model import Model
from model_service.llama.prefix_store import BLOCK_TOKENS
from model_service.llama.sampler import check_grammar

PROMPTS = ("One, two,", "A, B, C,", "Monday, Tuesday,")
POISON = "poison"


@pytest.fixture(scope="module")
def poison(model: Model) -> int:
    (token,) = model.tokenize(POISON, 64)[:1]
    return int(token)


@pytest.mark.parametrize("status", [1, -1])
def test_a_prompt_that_cannot_be_decoded_fails_alone(model: Model, poison: int, status: int) -> None:
    with Bench(model, fails=lambda tokens: status if poison in tokens else 0) as bench:
        bad, *good = (bench.sequence(prompt) for prompt in (POISON, *PROMPTS))
        bench.add(good[0], bad, *good[1:])
        bench.run()
        assert bench.ends(bad) == [GenerationFailedError]
        assert [bench.ends(each) for each in good] == [[Finished]] * 3
        assert bench.scheduler.counters.failed == 1
        assert len(bench.contexts) == 1
        bench.assert_empty()


def test_what_cannot_be_decoded_changes_nothing_for_the_others(model: Model, poison: int) -> None:
    with Bench(model) as bench:
        alone = [bench.sequence(prompt, 12) for prompt in PROMPTS]
        bench.add(*alone)
        bench.run()
        expected = [bench.text(each) for each in alone]
    with Bench(model, fails=lambda tokens: int(poison in tokens)) as bench:
        good = [bench.sequence(prompt, 12) for prompt in PROMPTS]
        bench.add(*good)
        for _ in range(5):  # while the others generate
            bench.step(2)
            bench.add(bench.sequence(POISON))
        bench.run()
        assert bench.scheduler.counters.failed == 5
        assert [bench.text(each) for each in good] == expected


def test_nan_fails_alone_and_does_not_get_into_the_store(model: Model, poison: int) -> None:
    with Bench(model) as bench:
        bench.context.nan_after = {poison}
        prompt = words(BLOCK_TOKENS * 2, "gamma") + " " + POISON
        bad = bench.sequence([*model.tokenize(prompt, 256)[: BLOCK_TOKENS * 2], poison])
        good = [bench.sequence(prompt) for prompt in PROMPTS]
        bench.add(bad, *good)
        bench.run()
        assert bench.ends(bad) == [GenerationFailedError]
        assert [bench.ends(each) for each in good] == [[Finished]] * 3
        again = bench.sequence([*bad.prompt[:-1].tolist(), *bad.prompt[:2].tolist()])
        bench.add(again)
        bench.run()
        assert bench.finished(again).cached_tokens == 0
        bench.assert_empty()


def test_nan_while_it_generates_ends_only_that_answer(model: Model) -> None:
    with Bench(model) as bench:
        bad, good = bench.sequence("One, two, three,", 50), bench.sequence("A, B, C,", 50)
        bench.add(bad, good)
        bench.run_until(lambda: bad.generated == 5 and good.generated >= 1)
        bench.context.nan_after = {bad.tokens[-1]} - {good.tokens[-1]}
        assert bench.context.nan_after
        bench.step()
        assert bench.ends(bad) == [GenerationFailedError]
        bench.context.nan_after = set()
        bench.run()
        assert bench.ends(good) == [Finished]
        bench.assert_empty()


def test_an_heir_goes_on_with_the_prefix_of_who_failed(model: Model, poison: int) -> None:
    with Bench(model, fails=lambda tokens: int(poison in tokens)) as bench:
        prefix = model.tokenize(words(100), 256).tolist()
        bad, heir, other = bench.sequence([*prefix, poison]), bench.sequence(prefix), bench.sequence([*prefix, 5])
        bench.add(bad, heir, other)
        bench.run()
        assert [bench.ends(each) for each in (bad, heir, other)] == [[GenerationFailedError], [Finished], [Finished]]
        bench.assert_empty()


def test_a_lost_context_is_made_anew_and_who_has_sent_nothing_starts_again(model: Model) -> None:
    with Bench(model, slots=2) as bench:
        requests = [bench.sequence(prompt) for prompt in PROMPTS]  # the third waits for a slot
        bench.context.fails = lambda _: -3
        bench.add(*requests)
        bench.run()
        assert len(bench.contexts) == 2
        assert [bench.ends(each) for each in requests] == [[Finished]] * 3
        assert bench.scheduler.counters.contexts_lost == 1
        assert bench.scheduler.counters.failed == 0
        bench.assert_empty()


def test_a_lost_context_ends_the_answers_that_have_begun(model: Model) -> None:
    with Bench(model) as bench:
        streaming, late = bench.sequence("One, two,", 50), bench.sequence("A, B, C,", 12)
        bench.add(streaming)
        bench.run_until(lambda: streaming.generated == 3)
        bench.add(late)
        bench.context.fails = lambda _: -3
        bench.run()
        assert bench.ends(streaming) == [GenerationFailedError]
        assert bench.ends(late) == [Finished]
        assert bench.scheduler.counters.contexts_lost == bench.scheduler.counters.failed == 1
        bench.assert_empty()


def test_a_lost_context_takes_nothing_from_who_is_paused(model: Model) -> None:
    with Bench(model, slots=1) as bench:
        paused = bench.sequence("One, two,", 20, priority="batch")
        bench.add(paused)
        bench.run_until(lambda: paused.generated == 5)
        urgent = bench.sequence("A, B, C,")
        bench.add(urgent)
        bench.context.fails = lambda _: -3
        bench.run()
        assert bench.scheduler.counters.paused == 1
        assert bench.ends(paused) == bench.ends(urgent) == [Finished]
        assert paused.generated == 20


def test_a_prompt_that_loses_the_context_each_time_fails_and_takes_nobody_with_it(model: Model, poison: int) -> None:
    with Bench(model, fails=lambda tokens: -3 if poison in tokens else 0) as bench:
        bad, *good = (bench.sequence(prompt) for prompt in (POISON, *PROMPTS))
        bench.add(bad, *good)
        bench.run()
        assert bench.ends(bad) == [GenerationFailedError]
        assert [bench.ends(each) for each in good] == [[Finished]] * 3
        assert bench.scheduler.counters.contexts_lost == 2
        assert len(bench.contexts) == 3
        bench.assert_empty()


def test_a_request_that_loses_two_contexts_fails(model: Model) -> None:
    with Bench(model, fails=lambda _: -3) as bench:
        requests = [bench.sequence(prompt) for prompt in PROMPTS]
        bench.add(*requests)
        bench.run()
        assert [bench.ends(each) for each in requests] == [[GenerationFailedError]] * 3
        bench.assert_empty()


def test_an_aborted_step_is_computed_again_and_loses_nothing(model: Model) -> None:
    with Bench(model) as bench:
        undisturbed = bench.sequence(words(150), 12)
        bench.add(undisturbed)
        bench.run()
        expected = bench.text(undisturbed)
    with Bench(model) as bench:
        # Each time what llama.cpp itself does: a part of the batch is in the cache when it gives up.
        aborted = 0

        def fails(_tokens: list[int]) -> int:
            nonlocal aborted
            if bench.context.decodes % 2:
                return 0
            aborted += 1
            super(type(bench.context), bench.context).decode()
            return ABORTED

        bench.context.fails = fails
        sequence, beside = bench.sequence(words(150), 12), bench.sequence("A, B, C,", 12)
        bench.add(sequence, beside)
        bench.run()
        assert aborted > 10
        assert bench.text(sequence) == expected
        assert bench.ends(beside) == [Finished]
        bench.assert_empty()


def test_who_hangs_up_again_and_again_does_not_keep_the_others_from_getting_on(model: Model) -> None:
    with Bench(model) as bench:
        stream = bench.sequence("One, two,", 30)
        bench.add(stream)
        bench.run_until(lambda: stream.generated == 1)
        aborts = []

        def fails(_tokens: list[int]) -> int:
            # Whoever computes its prompt in this step hangs up during it, as the event loop would have it.
            for sequence in bench.scheduler.prefilling:
                sequence.is_cancelled = True
            bench.context._abort[0] = b"\0"
            bench.scheduler.abort_if_unwanted()
            aborts.append(bench.context._abort[0] == b"\1")
            return ABORTED if aborts[-1] else 0

        bench.context.fails = fails
        steps = 0
        while bench.scheduler.has_work and bench.ends(stream) == []:
            unwanted = bench.sequence(words(100))
            bench.add(unwanted)
            bench.step()
            bench.scheduler.cancel(unwanted)
            steps += 1
        assert bench.ends(stream) == [Finished]
        assert any(aborts)
        assert steps <= 2 * 30 + 2
        bench.run()
        bench.assert_empty()


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0, grammar='root ::= "yes"', ignore_eos=True),
        Sampling(temperature=1, grammar='root ::= "yes"', ignore_eos=True),
        Sampling(temperature=0, grammar='root ::= "yes"', ignore_eos=True, grammar_trigger="(y)"),
    ],
    ids=["greedy", "sampled", "triggered"],
)
def test_a_grammar_that_leaves_no_token_fails_alone(model: Model, sampling: Sampling) -> None:
    with Bench(model) as bench:
        bad, good = bench.sequence("Say yes: y", 200, sampling=sampling), bench.sequence("A, B, C,")
        bench.add(bad, good)
        bench.run()
        end = bench.ends(bad)
        assert end == [GenerationFailedError] or (sampling.grammar_trigger and "y" not in bench.text(bad))
        assert bench.ends(good) == [Finished]
        bench.assert_empty()


def test_a_grammar_that_grows_with_each_token_fails_before_it_takes_long(model: Model) -> None:
    ambiguous = 'root ::= s\ns ::= "a" s x | "a" s y | "a"\nx ::= "b"\ny ::= "b" "c"'
    only_a = int(model.tokenize("a", 8)[0])
    sampling = Sampling(temperature=0, grammar=ambiguous, logit_bias=((only_a, 1000.0),))
    with Bench(model) as bench:
        bad, good = bench.sequence("A", 200, sampling=sampling), bench.sequence("A, B, C,", 20)
        bench.add(bad, good)
        bench.run()
        assert bench.ends(bad) == [GenerationFailedError]
        assert bench.ends(good) == [Finished]


HOSTILE_GRAMMARS = {
    "empty": "",
    "no root": 'a ::= "x"',
    "no rule": "hello",
    "undefined rule": "root ::= other",
    "unfinished class": "root ::= [a",
    "unfinished text": 'root ::= "a',
    "NUL": 'root ::= "a"\0',
    "left recursion": 'root ::= root "x" | "y"',
    "left recursion behind what may be empty": 'root ::= a root "x" | "z"\na ::= "y"?',
    "left recursion through a group": 'root ::= ("a"? | "b"*) (root "x") | "z"',
    "mutual left recursion": 'root ::= a\na ::= b "x"\nb ::= root | "y"',
    "deep": "root ::= " + "(" * 20_000 + '"a"' + ")" * 20_000,
    "2^40 ways to begin": "root ::= r0\n"
    + "".join(f"r{i} ::= r{i + 1} | r{i + 1}\n" for i in range(40))
    + 'r40 ::= "a"',
    "what may be empty, doubled": "root ::= r0\n"
    + "".join(f'r{i} ::= (r{i + 1} r{i + 1} "x" | r{i + 1} r{i + 1} "y")?\n' for i in range(12))
    + 'r12 ::= "a"?',
    "what may be empty, repeated": 'root ::= ((("a"?){200} "b"?){200} "c"?){200}',
}


@pytest.mark.parametrize("grammar", HOSTILE_GRAMMARS.values(), ids=HOSTILE_GRAMMARS.keys())
def test_a_hostile_grammar_is_refused(model: Model, grammar: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_grammar(Sampling(grammar=grammar), model)
    assert caught.value.param == "grammar"


GOOD_GRAMMARS = {
    "json": """root ::= value
value ::= object | array | string | number | "true" | "false" | "null"
object ::= "{" ws (string ws ":" ws value ("," ws string ws ":" ws value)*)? "}" ws
array ::= "[" ws (value ("," ws value)*)? "]" ws
string ::= "\\"" ([^"\\\\\\x7F\\x00-\\x1F] | "\\\\" (["\\\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\\"" ws
number ::= "-"? ([0-9] | [1-9] [0-9]{0,15}) ("." [0-9]+)? ([eE] [-+]? [1-9] [0-9]{0,15})? ws
ws ::= | " " | "\\n" [ \\t]{0,20}""",
    "parentheses in text": 'root ::= "' + "(" * 5000 + '" # ((((\n',
    "a thousand optional parts": "root ::= " + " ".join(f'"p{i}"?' for i in range(1000)),
    "a list of thousands": "root ::= " + " | ".join(f'"value {i}"' for i in range(5000)),
    "a long chain": "root ::= r0\n" + "".join(f"r{i} ::= r{i + 1}\n" for i in range(2000)) + 'r2000 ::= "a"',
    "bounded text": "root ::= char{0,1000}\nchar ::= [a-z] | [A-Z] | [0-9]",
    "deep within reason": "root ::= " + "(" * 400 + '"a"' + ")" * 400,
}


@pytest.mark.parametrize("grammar", GOOD_GRAMMARS.values(), ids=GOOD_GRAMMARS.keys())
def test_a_large_but_harmless_grammar_is_taken(model: Model, grammar: str) -> None:
    check_grammar(Sampling(grammar=grammar), model)


def test_a_grammar_that_turns_out_bad_takes_no_slot(model: Model) -> None:
    with Bench(model, slots=1) as bench:
        bad = bench.sequence("One", sampling=Sampling(grammar="root ::= ["))
        good = bench.sequence("A, B, C,")
        bench.add(bad, good)
        bench.run()
        assert bench.ends(bad) == [InvalidRequestError]
        assert bench.ends(good) == [Finished]
        bench.assert_empty()


def test_the_streams_of_one_adapter_get_on_beside_prompts_of_the_same_and_streams_of_another(model: Model) -> None:
    """The adapters are played: what is computed with them doesn't matter here."""
    with Bench(model, step_tokens=8, kv_tokens=1024, store_bytes=0) as bench:
        bench.context.use_adapter = lambda name: None  # type: ignore[method-assign]
        sampling = Sampling(temperature=0, ignore_eos=True)
        streams = [bench.sequence("One, two,", 200, sampling=sampling) for _ in range(2)]
        long = bench.sequence(words(200))
        for adapted in (streams[1], long):
            object.__setattr__(adapted.request, "adapter", "poet")
        bench.add(*streams)
        bench.run_until(lambda: all(each.generated > 3 for each in streams))
        bench.add(long)
        before = [each.generated for each in streams]
        bench.run_until(lambda: long.generated > 0)
        got = [each.generated - start for each, start in zip(streams, before, strict=True)]
        assert min(got) >= max(got) / 4 > 2
