"""What requests have in common is computed once, and belongs to whoever still needs it."""

from __future__ import annotations

import numpy
import pytest
from scheduling import STORE_BYTES, Bench, assert_same_save_ties, words

from model_service.engine import Finished, Sampling, Started
from model_service.llama.bindings import llama
from model_service.llama.model import Model
from model_service.llama.prefix_store import BLOCK_TOKENS
from model_service.llama.sequence import Sequence

USERS = 16
LONG, SHORT = 600, 160
QUESTIONS = [
    *("One, two, three,", "The capital of France is", "Roses are red, violets are", "A, B, C, D, E,"),
    *("Monday, Tuesday,", "To be, or not to be,", "The quick brown fox", "Once upon a time,"),
    *("Red, green,", "Water boils at", "My name is", "Two and two is"),
    *("The sun rises in the", "January, February,", "Cats and dogs", "Hello,"),
]


@pytest.fixture(scope="module")
def text(model: Model) -> list[int]:
    sentence = "You are a helpful assistant who answers in one short sentence and never guesses. "
    tokens: list[int] = model.tokenize(sentence * 60, 10_000)[:LONG].tolist()
    return tokens


@pytest.fixture(scope="module")
def prefix(text: list[int]) -> list[int]:
    return text[:SHORT]


@pytest.fixture(scope="module")
def prompts(model: Model, prefix: list[int]) -> list[list[int]]:
    """A shared prefix and something of each one's own."""
    return [[*prefix, *model.tokenize(question, 64).tolist()] for question in QUESTIONS]


def test_a_prefix_shared_by_requests_that_arrive_together_is_computed_once_and_changes_no_text(
    model: Model, text: list[int], prompts: list[list[int]]
) -> None:
    prompts = [[*text, *prompt[SHORT:]] for prompt in prompts]
    unique = LONG + sum(len(prompt) - LONG for prompt in prompts)
    with Bench(model, slots=USERS, context=700, kv_tokens=3000, step_tokens=128) as bench:
        users = [bench.sequence(prompt, 8) for prompt in prompts]
        bench.add(*users)
        bench.run_until(lambda: all(user.generated for user in users))
        assert unique * 0.95 <= bench.scheduler.counters.prompt_tokens <= 1.05 * unique
        assert LONG < bench.scheduler.kv_tokens < unique + USERS * 8
        bench.run()
        assert [bench.ends(user) for user in users] == [[Finished]] * USERS
        cached = sum(bench.finished(user).cached_tokens for user in users)
        assert cached + bench.scheduler.counters.prompt_tokens == sum(map(len, prompts))
        bench.assert_empty()
    with Bench(model, slots=1, context=700, kv_tokens=700, step_tokens=256, store_bytes=0) as bench:
        alone = [bench.sequence(prompt, 8) for prompt in prompts[:4]]
        bench.add(*alone)
        bench.run()
        assert bench.scheduler.counters.prompt_tokens == sum(len(prompt) for prompt in prompts[:4])
        for one, other in zip(alone, users, strict=False):
            assert_same_save_ties(bench, one.tokens, other.tokens)


@pytest.mark.parametrize("kv_tokens", [1279, 1280], ids=["unified", "split"])
@pytest.mark.parametrize("computed", [0, 70, SHORT], ids=["before", "during", "after"])
def test_an_heir_goes_on_when_the_prefix_loses_its_owner(
    model: Model, prefix: list[int], prompts: list[list[int]], computed: int, kv_tokens: int
) -> None:
    with Bench(model, slots=5, context=256, kv_tokens=kv_tokens, step_tokens=64, store_bytes=0) as bench:
        owner, *heirs = (bench.sequence(prompt, 4) for prompt in prompts[:5])
        bench.add(owner, *heirs)
        if computed:
            bench.run_until(lambda: owner.computed >= computed)
        bench.scheduler.cancel(owner)
        assert bench.scheduler.kv_tokens == max(bench.context.lengths)
        bench.run()
        assert bench.ends(owner) == []
        assert [bench.ends(heir) for heir in heirs] == [[Finished]] * 4
        unique = len(prefix) + sum(len(prompt) - len(prefix) for prompt in prompts[:5])
        # Nothing is computed a second time.
        assert bench.scheduler.counters.prompt_tokens <= unique
        bench.assert_empty()


def test_each_owner_leaves_and_the_last_heir_still_finishes(
    model: Model, prefix: list[int], prompts: list[list[int]]
) -> None:
    with Bench(model, slots=8, context=256, kv_tokens=1400, step_tokens=20, store_bytes=0) as bench:
        users = [bench.sequence(prompt, 4) for prompt in prompts[:8]]
        bench.add(*users)
        for computed in range(20, 160, 20):
            bench.run_until(lambda computed=computed: max(user.computed for user in users) >= computed)  # type: ignore[misc]
            owners = [user for user in bench.scheduler.running if user.source is None]
            assert len(owners) == 1
            bench.scheduler.cancel(owners[0])
        bench.run()
        assert sum(bench.ends(user) == [Finished] for user in users) == 1
        assert bench.scheduler.counters.prompt_tokens <= max(map(len, prompts))
        bench.assert_empty()


@pytest.mark.parametrize("kv_tokens", [1279, 1280], ids=["unified", "split"])
def test_a_chain_of_waiters_shares_what_each_has_with_the_one_before(
    model: Model, prefix: list[int], kv_tokens: int
) -> None:
    """Each goes along with the one before for longer than with all others."""
    lengths = range(30, 180, 30)
    chain = [[*prefix[:length], length, *prefix[:20]] for length in lengths]
    unique = 150 + sum(len(prompt) - length for prompt, length in zip(chain, lengths, strict=True))
    with Bench(model, slots=5, context=256, kv_tokens=kv_tokens, step_tokens=64, store_bytes=0) as bench:
        users = [bench.sequence(prompt, 4) for prompt in chain]
        bench.add(*users)
        bench.step()
        assert [user.source for user in users] == [None, users[0], users[1], users[2], users[3]]
        bench.run()
        assert [bench.ends(user) for user in users] == [[Finished]] * 5
        assert bench.scheduler.counters.prompt_tokens == unique
        bench.assert_empty()


@pytest.mark.parametrize("kv_tokens", [1279, 1280], ids=["unified", "split"])
@pytest.mark.parametrize("middle", [1, 2, 3])
def test_a_chain_of_waiters_holds_when_one_in_the_middle_leaves(
    model: Model, prefix: list[int], middle: int, kv_tokens: int
) -> None:
    chain = [[*prefix[:length], length, *prefix[:20]] for length in range(30, 180, 30)]
    with Bench(model, slots=5, context=256, kv_tokens=kv_tokens, step_tokens=64, store_bytes=0) as bench:
        users = [bench.sequence(prompt, 4) for prompt in chain]
        bench.add(*users)
        bench.step()
        bench.scheduler.cancel(users[middle])
        bench.run()
        others = [user for user in users if user is not users[middle]]
        assert [bench.ends(user) for user in others] == [[Finished]] * 4
        bench.assert_empty()


def test_tenants_share_nothing_neither_in_flight_nor_by_the_store(model: Model, prompts: list[list[int]]) -> None:
    with Bench(model, slots=2, context=256, kv_tokens=900, step_tokens=128) as bench:
        one, other = (bench.sequence(prompts[0], 4, tenant=tenant) for tenant in ("one", "other"))
        bench.add(one, other)
        bench.run()
        assert bench.scheduler.counters.prompt_tokens == 2 * len(prompts[0])
        third = bench.sequence(prompts[0], 4, tenant="third")
        bench.add(third)
        bench.run()
        assert bench.scheduler.counters.prompt_tokens == 3 * len(prompts[0])
        for sequence in (one, other, third):
            assert bench.finished(sequence).cached_tokens == 0
        assert one.tokens == other.tokens == third.tokens
        again = bench.sequence(prompts[0], 4, tenant="one")
        bench.add(again)
        bench.run()
        assert bench.finished(again).cached_tokens == SHORT


def test_a_conversation_goes_on_from_what_its_last_turn_computed(model: Model, prompts: list[list[int]]) -> None:
    with Bench(model, context=512, kv_tokens=2048, step_tokens=128) as bench:
        conversation = prompts[0]
        for turn in range(3):
            before = bench.scheduler.counters.prompt_tokens
            sequence = bench.sequence(conversation, 40)
            bench.add(sequence)
            bench.run()
            computed = bench.scheduler.counters.prompt_tokens - before
            if turn:
                known = (len(conversation) - 9) // BLOCK_TOKENS * BLOCK_TOKENS
                assert bench.finished(sequence).cached_tokens == known
                assert computed == len(conversation) - known
            conversation = [*sequence.tokens, *range(500 + turn, 508 + turn)]
        bench.assert_empty()


def test_the_store_gives_the_text_that_computing_gives(model: Model, prompts: list[list[int]]) -> None:
    with Bench(model, context=256, kv_tokens=1024, step_tokens=128) as bench:
        first, again = (bench.sequence(prompts[0], 16) for _ in range(2))
        bench.add(first)
        bench.run()
        bench.add(again)
        bench.run()
        assert bench.finished(again).cached_tokens == SHORT
        assert_same_save_ties(bench, first.tokens, again.tokens)


def test_who_shares_a_running_prefix_takes_only_the_rest_from_the_store(
    model: Model, prefix: list[int], prompts: list[list[int]]
) -> None:
    longer = [*prefix, *range(1000, 1060)]
    with Bench(model, slots=3, context=256, kv_tokens=700, step_tokens=128) as bench:
        bench.add(bench.sequence(longer, 8))
        bench.run()
        running = bench.sequence(prompts[0], 60)
        bench.add(running)
        bench.run_until(lambda: running.generated > 0)
        cells = bench.scheduler.kv_tokens
        second = bench.sequence(longer, 8)
        bench.add(second)
        bench.step()
        assert second.source is running
        assert second.shared == SHORT // BLOCK_TOKENS * BLOCK_TOKENS
        assert bench.scheduler.kv_tokens < cells + len(longer) - second.shared + 16
        bench.run()
        assert bench.ends(second) == [Finished]
        bench.assert_empty()


def test_a_small_store_forgets_what_was_used_least_recently(model: Model) -> None:
    prompts = [model.tokenize(words(100, first), 256).tolist() for first in ("gold", "silver", "iron")]
    with Bench(model, store_bytes=STORE_BYTES) as bench:
        bench.add(bench.sequence(prompts[0], 1))
        bench.run()
        of_one = bench.scheduler.stored_bytes
        assert of_one > 0
    with Bench(model, store_bytes=2 * of_one) as bench:

        def cached(prompt: list[int]) -> int:
            sequence = bench.sequence(prompt, 1)
            bench.add(sequence)
            bench.run()
            assert bench.scheduler.stored_bytes <= 2 * of_one
            return bench.finished(sequence).cached_tokens

        gold, silver, iron = prompts
        kept = len(gold) // BLOCK_TOKENS * BLOCK_TOKENS
        assert [cached(gold), cached(silver), cached(gold)] == [0, 0, kept]
        assert cached(iron) == 0  # silver's have to go for it
        assert cached(gold) == kept
        assert cached(silver) == 0


def test_of_what_does_not_fit_the_store_keeps_the_beginning(model: Model) -> None:
    with Bench(model) as bench:
        bench.add(bench.sequence(words(BLOCK_TOKENS), 1))
        bench.run()
        of_block = bench.scheduler.stored_bytes
    with Bench(model, store_bytes=3 * of_block + 1) as bench:
        prompt = words(200)
        bench.add(bench.sequence(prompt, 1))
        bench.run()
        assert bench.scheduler.stored_bytes == 3 * of_block
        again = bench.sequence(prompt, 1)
        bench.add(again)
        bench.run()
        assert bench.finished(again).cached_tokens == 3 * BLOCK_TOKENS


def test_no_room_turns_the_store_off(model: Model) -> None:
    with Bench(model, store_bytes=0) as bench:
        for _ in range(2):
            sequence = bench.sequence(words(200), 1)
            bench.add(sequence)
            bench.run()
            assert bench.finished(sequence).cached_tokens == 0
        assert bench.scheduler.stored_bytes == 0


def test_what_a_cancelled_prompt_had_computed_is_kept(model: Model) -> None:
    with Bench(model, step_tokens=64) as bench:
        gone = bench.sequence(words(200))
        bench.add(gone)
        bench.run_until(lambda: gone.computed >= 128)
        bench.scheduler.cancel(gone)
        again = bench.sequence(words(200))
        bench.add(again)
        bench.run()
        assert bench.finished(again).cached_tokens >= 128


def test_the_started_event_says_how_much_was_cached(model: Model, prompts: list[list[int]]) -> None:
    with Bench(model, slots=2, context=256, kv_tokens=512, step_tokens=128) as bench:
        users = [bench.sequence(prompt, 2) for prompt in prompts[:2]]
        bench.add(*users)
        bench.run()
        for user, cached in zip(users, (0, SHORT), strict=True):
            started = [event for owner, event in bench.scheduler.outbox if owner is user and isinstance(event, Started)]
            assert [event.cached_tokens for event in started] == [cached]
            assert bench.finished(user).cached_tokens == cached


def test_different_adapters_share_nothing(model: Model, prompts: list[list[int]]) -> None:
    """By the books alone: no adapter is loaded."""
    with Bench(model, slots=2, context=256, kv_tokens=512) as bench:
        plain, adapted = bench.sequence(prompts[0]), bench.sequence(prompts[0])
        object.__setattr__(adapted.request, "adapter", "poet")
        tree, store = bench.scheduler._tree, bench.scheduler._store
        tree.add(plain)
        assert tree.match(bench.sequence(prompts[0])) == (plain, len(prompts[0]) - 1)
        assert tree.match(adapted) == (None, 0)
        tree.remove(plain)
        bench.add(plain)
        bench.run()
        tokens = numpy.array(prompts[0], dtype=numpy.int32)
        assert store.known_length(bench.sequence(prompts[0]), tokens) == SHORT
        assert store.known_length(adapted, tokens) == 0


def test_llama_cpp_itself_shares_the_cells(model: Model, prefix: list[int]) -> None:
    """What all books here build on: sequences of one prefix fit where copies of it wouldn't."""
    with Bench(model, slots=4, context=256, kv_tokens=512, step_tokens=128, store_bytes=0) as bench:
        endless = Sampling(temperature=0, ignore_eos=True)
        users = [bench.sequence([*prefix, number, number], 30, sampling=endless) for number in range(100, 104)]
        bench.add(*users)
        bench.run_until(lambda: all(user.generated > 2 for user in users))
        assert bench.scheduler.counters.paused == 0
        assert sum(bench.context.lengths) > 4 * SHORT > llama.llama_n_ctx(bench.context._handle)
        bench.run()
        assert [bench.ends(user) for user in users] == [[Finished]] * 4


def assert_no_source(sequence: Sequence) -> None:
    assert (sequence.source, sequence.shared) == (None, 0)


def test_who_has_ended_is_nobodys_source(model: Model, prompts: list[list[int]]) -> None:
    with Bench(model, slots=3, context=256, kv_tokens=900, step_tokens=128) as bench:
        users = [bench.sequence(prompt, tokens) for prompt, tokens in zip(prompts, (2, 8, 20), strict=False)]
        bench.add(*users)
        for ended in users:
            bench.run_until(lambda ended=ended: bool(bench.ends(ended)))  # type: ignore[misc]
            bench.step()
            assert_no_source(ended)
            assert all(other.source is not ended for other in users)
        bench.assert_empty()
