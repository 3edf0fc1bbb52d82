"""What ended sequences had computed: kept by blocks, the least recently used go first."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as Series
from typing import cast

import numpy
import pytest

from model_service.engine import GenerationRequest
from model_service.llama.kv_cache import Cache
from model_service.llama.kv_state import State
from model_service.llama.prefix_store import BLOCK_TOKENS, PrefixStore
from model_service.llama.sequence import Sequence, Tokens

BLOCK_BYTES = 100


class Slots:
    """A cache as far as the store needs one: a state says which positions it is of."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.saved: list[tuple[int, int]] = []
        self.restored: list[int] = []

    def save(self, slot: int, starts: Iterable[int], count: int) -> Iterator[State]:
        for start in starts:
            self.saved.append((start, start + count))
            yield numpy.full(BLOCK_BYTES, start // BLOCK_TOKENS, dtype=numpy.uint8)

    def restore(self, slot: int, blocks: Series[State]) -> int:
        self.restored += [int(block[0]) for block in blocks[: self.room]]
        return min(self.room, len(blocks))


def sequence(tenant: str = "", adapter: str | None = None) -> Sequence:
    request = GenerationRequest("", tenant=tenant, adapter=adapter)
    return Sequence(request, tokens(1), 1, time.perf_counter())


def tokens(blocks: float, first: int = 0) -> Tokens:
    return numpy.arange(first, first + int(blocks * BLOCK_TOKENS), dtype=numpy.int32)


def save(store: PrefixStore, of: Tokens, slots: Slots | None = None, **who: str) -> Slots:
    slots = slots or Slots()
    store.save(cast(Cache, slots), sequence(**who), of)
    return slots


def test_whole_blocks_are_kept_and_found_from_the_first_on() -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    slots = save(store, tokens(3.5))
    assert slots.saved == [(start * BLOCK_TOKENS, (start + 1) * BLOCK_TOKENS) for start in range(3)]
    assert store.bytes == 3 * BLOCK_BYTES
    assert store.known_length(sequence(), tokens(10)) == 3 * BLOCK_TOKENS
    assert store.known_length(sequence(), tokens(2)) == 2 * BLOCK_TOKENS
    assert store.known_length(sequence(), tokens(3, first=1)) == 0


def test_what_is_kept_already_is_not_copied_again() -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    save(store, tokens(2))
    assert save(store, tokens(3)).saved == [(2 * BLOCK_TOKENS, 3 * BLOCK_TOKENS)]
    assert store.bytes == 3 * BLOCK_BYTES


def test_a_block_is_found_only_behind_the_same_beginning() -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    save(store, tokens(2))
    other_beginning = numpy.concatenate([tokens(1, first=5000), tokens(1, first=BLOCK_TOKENS)])
    assert store.known_length(sequence(), other_beginning) == 0


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"tenant": "a"}, {"tenant": "b"}),
        ({"tenant": "a"}, {}),
        ({"adapter": "a"}, {}),
        ({"tenant": "a', 'b"}, {"tenant": "a", "adapter": "b"}),
        ({"adapter": "None"}, {}),
    ],
)
def test_tenants_and_adapters_have_nothing_in_common(one: dict[str, str], other: dict[str, str]) -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    save(store, tokens(2), **one)
    assert store.known_length(sequence(**one), tokens(2)) == 2 * BLOCK_TOKENS
    assert store.known_length(sequence(**other), tokens(2)) == 0


def test_the_least_recently_used_goes_first_and_of_that_the_end() -> None:
    store = PrefixStore(4 * BLOCK_BYTES)
    save(store, tokens(2, first=1000))
    save(store, tokens(2, first=2000))
    save(store, tokens(2, first=1000))
    save(store, tokens(1, first=3000))
    assert store.known_length(sequence(), tokens(2, first=1000)) == 2 * BLOCK_TOKENS
    assert store.known_length(sequence(), tokens(2, first=2000)) == BLOCK_TOKENS
    assert store.bytes == 4 * BLOCK_BYTES


def test_what_is_larger_than_the_store_pushes_out_the_rest_and_keeps_its_beginning() -> None:
    store = PrefixStore(3 * BLOCK_BYTES)
    save(store, tokens(1, first=1000))
    slots = save(store, tokens(50))
    assert store.known_length(sequence(), tokens(50)) == 3 * BLOCK_TOKENS
    assert store.known_length(sequence(), tokens(1, first=1000)) == 0
    assert store.bytes == 3 * BLOCK_BYTES
    assert len(slots.saved) <= 4  # what can't be kept isn't copied


def test_it_never_has_more_than_its_limit() -> None:
    random = numpy.random.default_rng(1)
    store = PrefixStore(7 * BLOCK_BYTES + 50)
    for _ in range(300):
        of = tokens(int(random.integers(1, 12)), first=int(random.integers(0, 4)) * 1000)
        save(store, of)
        assert 0 < store.bytes <= 7 * BLOCK_BYTES + 50
        assert store.known_length(sequence(), of) == min(len(of), 7 * BLOCK_TOKENS)


def test_it_restores_in_order_from_where_it_is_told() -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    save(store, tokens(5))
    slots = Slots()
    assert store.restore(cast(Cache, slots), sequence(), tokens(4), BLOCK_TOKENS) == 3 * BLOCK_TOKENS
    assert slots.restored == [1, 2, 3]


def test_it_restores_as_far_as_there_is_room() -> None:
    store = PrefixStore(10 * BLOCK_BYTES)
    save(store, tokens(5))
    slots = Slots(room=2)
    assert store.restore(cast(Cache, slots), sequence(), tokens(5), 0) == 2 * BLOCK_TOKENS
    assert slots.restored == [0, 1]


def test_restoring_counts_as_use() -> None:
    store = PrefixStore(4 * BLOCK_BYTES)
    save(store, tokens(2, first=1000))
    save(store, tokens(2, first=2000))
    store.restore(cast(Cache, Slots()), sequence(), tokens(2, first=1000), 0)
    save(store, tokens(2, first=3000))
    assert store.known_length(sequence(), tokens(2, first=1000)) == 2 * BLOCK_TOKENS
    assert store.known_length(sequence(), tokens(2, first=2000)) == 0


def test_cleared_it_knows_nothing() -> None:
    store = PrefixStore(4 * BLOCK_BYTES)
    save(store, tokens(2))
    store.clear()
    assert store.bytes == store.known_length(sequence(), tokens(2)) == 0
