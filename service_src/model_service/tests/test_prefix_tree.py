"""The books of who shares which cells, against a model of the cells themselves."""

from __future__ import annotations

import time

import numpy
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from model_service.engine import GenerationRequest
from model_service.llama.prefix_tree import MIN_SHARED, PrefixTree, common_length
from model_service.llama.sequence import Sequence
from model_service.llama.waiting import WaitingQueue

SLOTS = 8
TENANTS = ("one", "one", "one", "other")

# Prompts along a tree of few branches, cut anywhere, so that many begin alike and at many lengths.
PIECE = 7
prompts = st.builds(
    lambda branches, own: [*(branch * 100 + at for branch in branches for at in range(PIECE)), *range(500, 500 + own)],
    st.lists(st.sampled_from([0, 0, 0, 1]), min_size=2, max_size=8),
    st.integers(0, 12),
)


def sequence(prompt: list[int], tenant: str = "") -> Sequence:
    request = GenerationRequest("", tenant=tenant)
    return Sequence(request, numpy.array(prompt, dtype=numpy.int32), 10, time.perf_counter())


class Cells:
    """What llama.cpp would have: each cell is one position of a set of slots."""

    def __init__(self) -> None:
        self.cells: list[tuple[int, int, set[int]]] = []  # position, token, slots

    def compute(self, slot: int, position: int, token: int) -> None:
        assert position not in self.positions(slot)
        self.cells.append((position, token, {slot}))

    def share(self, source: int, slot: int, length: int) -> None:
        for position, _, slots in self.cells:
            if source in slots and position < length:
                # llama.cpp would have two cells of one position for the slot, and count both when it attends.
                assert slot in slots or position not in self.positions(slot)
                slots.add(slot)

    def clear(self, slot: int) -> None:
        for _, _, slots in self.cells:
            slots.discard(slot)
        self.cells = [cell for cell in self.cells if cell[2]]

    def positions(self, slot: int) -> dict[int, int]:
        return {position: token for position, token, slots in self.cells if slot in slots}


class SharedPrefixes(RuleBasedStateMachine):
    """The scheduler's part is played by the rules: they come in any order that it could have them in."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = Cells()
        self.tree = PrefixTree(lambda source, heir, length: self.cells.share(source.slot, heir.slot, length))
        self.waiting = WaitingQueue(60)
        self.running: list[Sequence] = []
        self.free = list(range(SLOTS))

    @rule(prompt=prompts, tenant=st.sampled_from(TENANTS))
    def arrive(self, prompt: list[int], tenant: str) -> None:
        if len(self.waiting) < 4:
            self.waiting.add(sequence(prompt, tenant))
        self.admit()

    @rule()
    def admit(self) -> None:
        while self.free and self.waiting:
            self.admit_first()

    def admit_first(self) -> None:
        first = self.waiting.first
        source, shared = self.tree.match(first)
        if source is not None:
            assert source in self.running
            assert source.salt == first.salt
            assert MIN_SHARED <= shared < len(first.prompt)
            assert source.prompt[:shared].tolist() == first.prompt[:shared].tolist()
        for other in self.running:
            if other.salt == first.salt:
                common = common_length(first.prompt[:-1], other.prompt)
                assert common <= max(shared, MIN_SHARED - 1)
        self.waiting.remove(first)
        first.slot = self.free.pop()
        first.started_at = first.started_at or time.perf_counter()
        self.running.append(first)
        self.tree.add(first, source, shared)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), most=st.integers(1, 30))
    def compute(self, data: st.DataObject, most: int) -> None:
        ready = [each for each in self.running if not each.waits_for_prefix]
        assert ready  # whoever runs, one of them can get on
        each = data.draw(st.sampled_from(ready))
        for _ in range(min(most, each.pending)):
            self.cells.compute(each.slot, each.computed, each.tokens[each.computed])
            each.computed += 1
        if not each.pending:
            each.tokens.append(1000 + each.generated)
            each.generated += 1

    @rule()
    def advance(self) -> None:
        for each in self.running:
            self.tree.advance(each)
            if each.source is not None and each.source.computed >= each.shared:
                assert not each.waits_for_prefix

    @precondition(lambda self: self.running)
    @rule(data=st.data(), pauses=st.booleans())
    def leave(self, data: st.DataObject, pauses: bool) -> None:
        each = data.draw(st.sampled_from(self.running))
        self.running.remove(each)
        before = {other: other.computed for other in self.running}
        self.tree.remove(each)
        self.cells.clear(each.slot)
        self.free.append(each.slot)
        each.computed = 0
        assert (each.source, each.shared) == (None, 0)
        assert all(other.computed >= before[other] for other in self.running)
        if pauses:
            self.waiting.add(each)

    @precondition(lambda self: self.running)
    @rule(really=st.integers(0, 19))
    def lose_the_context(self, really: int) -> None:
        if really != 7:
            return
        self.cells = Cells()
        assert set(self.tree.clear()) == set(self.running)
        for each in self.running:
            assert each.computed == 0
            self.free.append(each.slot)
            self.waiting.add(each)
        self.running = []

    @invariant()
    def the_books_have_as_many_cells_as_there_are(self) -> None:
        assert self.tree.cells == len(self.cells.cells)
        assert self.tree.cells <= self.tree.cells_promised

    @invariant()
    def each_sequence_has_just_what_it_computed(self) -> None:
        for each in self.running:
            positions = self.cells.positions(each.slot)
            assert positions == dict(enumerate(each.tokens[: each.computed]))
            assert 0 <= each.cached <= len(each.prompt)

    @invariant()
    def sources_are_running_and_lead_to_one_that_needs_none(self) -> None:
        for each in self.running:
            seen = {each}
            at = each
            while at.source is not None:
                assert at.shared > 0
                assert at.source in self.running
                assert at.source.tokens[: at.shared] == at.tokens[: at.shared]
                assert at.source.salt == at.salt
                at = at.source
                assert at not in seen
                seen.add(at)
            assert at.shared == 0

    def teardown(self) -> None:
        """Whatever state it is in: all who run and wait can finish."""
        for _ in range(1000):
            if not (self.running or len(self.waiting)):
                break
            self.admit()
            self.advance()
            for each in tuple(self.running):
                while not each.waits_for_prefix and each.pending:
                    self.cells.compute(each.slot, each.computed, each.tokens[each.computed])
                    each.computed += 1
                if not each.pending:
                    self.running.remove(each)
                    self.tree.remove(each)
                    self.cells.clear(each.slot)
                    self.free.append(each.slot)
        assert not (self.running)
        assert not (len(self.waiting))
        assert self.tree.cells == len(self.cells.cells) == 0


TestSharedPrefixes = SharedPrefixes.TestCase
TestSharedPrefixes.settings = settings(
    max_examples=120, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_the_heir_of_a_prefix_under_way_has_what_was_computed_of_it() -> None:
    cells = Cells()
    tree = PrefixTree(lambda source, heir, length: cells.share(source.slot, heir.slot, length))
    owner, long, short = (sequence([*range(common), 900 + common, 901]) for common in (40, 30, 20))
    for slot, (each, source, shared) in enumerate([(owner, None, 0), (long, owner, 30), (short, owner, 20)]):
        each.slot = slot
        tree.add(each, source, shared)
    for position in range(25):
        cells.compute(owner.slot, position, owner.tokens[position])
    owner.computed = 25
    tree.advance(short)
    assert (short.computed, long.computed) == (20, 0)
    tree.remove(owner)
    cells.clear(owner.slot)
    assert (long.source, long.shared, long.computed) == (None, 0, 25)
    assert (short.source, short.shared, short.computed) == (long, 20, 20)
    assert tree.cells == len(cells.cells) == 25


def test_who_is_matched_twice_as_long_by_one_that_has_more_takes_that_one() -> None:
    tree = PrefixTree(lambda *_: None)
    slow, fast = sequence([*range(30), 1, 2]), sequence([*range(30), 3, 4])
    tree.add(slow)
    tree.add(fast)
    fast.computed = 20
    assert tree.match(sequence([*range(30), 5, 6])) == (fast, 30)


def test_fewer_tokens_in_common_than_are_worth_waiting_for_are_not_shared() -> None:
    tree = PrefixTree(lambda *_: None)
    tree.add(sequence(list(range(20))))
    assert tree.match(sequence([*range(MIN_SHARED - 1), 99, 98])) == (None, 0)
    assert tree.match(sequence([*range(MIN_SHARED), 99, 98]))[1] == MIN_SHARED


def test_the_last_token_is_always_computed_anew() -> None:
    tree = PrefixTree(lambda *_: None)
    first = sequence(list(range(20)))
    tree.add(first)
    assert tree.match(sequence(list(range(20)))) == (first, 19)
    assert tree.match(sequence(list(range(21)))) == (first, 20)
