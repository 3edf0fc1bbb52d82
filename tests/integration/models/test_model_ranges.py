# Copyright (c) 2026, llm.orchestrator contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""model_download over several connections: the same file and the same errors as over one."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from ansible_collections.llm.orchestrator.plugins.module_utils._fetch_ranges import RANGE_BYTES
from ansible_collections.llm.orchestrator.plugins.module_utils._http_body import NETWORK_CHUNK_BYTES
from ansible_collections.llm.orchestrator.plugins.module_utils._partial_file import KEEP_FREE_BYTES
from ansible_collections.llm.orchestrator.tests.integration.models import test_model_download
from ansible_collections.llm.orchestrator.tests.integration.models.conftest import serving
from ansible_collections.llm.orchestrator.tests.integration.models.fault_server import (
    Fault,
    FaultServer,
    Handler,
    break_off,
    serve,
    status,
    whole_for_range,
)
from ansible_collections.llm.orchestrator.tests.integration.models.module_runs import Disk, ModelFile, Store

MIB = 1 << 20
RANGES = 4
asked = test_model_download.asked
assert_whole = test_model_download.assert_whole


@pytest.fixture(scope="module")
def model_file() -> ModelFile:
    """Three ranges and a bit."""
    return ModelFile(3, RANGE_BYTES * (RANGES - 1) + 4096)


@pytest.fixture
def server(model_file: ModelFile) -> Iterator[FaultServer]:
    with serving(model_file.content) as server:
        yield server


def fetched(store: Store, server: FaultServer, model_file: ModelFile, **options: Any) -> dict[str, Any]:
    return store.run("model_download", **asked(server, model_file, connections=3, **options))


def starts(server: FaultServer) -> list[int]:
    return [int(match[1]) for match in (re.match(r"bytes=(\d+)-\d+", one or "") for one in server.ranges) if match]


def test_each_range_is_fetched_once_and_several_at_a_time(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    meeting = threading.Barrier(3)

    def met(handler: Handler) -> None:
        """Only answers once three ask at the same time."""
        meeting.wait(30)
        serve(handler)

    server.faults = [serve, met, met, met]
    assert fetched(store, server, model_file)["changed"]
    assert_whole(store, model_file)
    assert sorted(starts(server)) == [number * RANGE_BYTES for number in range(RANGES)]


def on_range(number: int, fault: Fault) -> Fault:
    """Misbehaves once, where this range is asked for."""
    left = [fault]

    def answer(handler: Handler) -> None:
        asked_for = re.match(rf"bytes={number * RANGE_BYTES}-", handler.headers.get("Range", ""))
        (left.pop() if asked_for and left else serve)(handler)

    return answer


def start(handler: Handler) -> int:
    return int(handler.headers["Range"][6:].partition("-")[0])


def whole(handler: Handler) -> bool:
    """Whether it asks for a range from its beginning."""
    return start(handler) % RANGE_BYTES == 0 and start(handler) + RANGE_BYTES <= len(handler.content)


def begin(handler: Handler) -> bytes:
    """Answers with the range's first bytes, and returns the rest of it."""
    first, total = start(handler), len(handler.content)
    last = min(first + RANGE_BYTES, total) - 1
    handler.begin(206, last + 1 - first, Content_Range=f"bytes {first}-{last}/{total}")
    handler.send(handler.content[first : first + 1000])
    return handler.content[first + 1000 : last + 1]


def stall(handler: Handler) -> None:
    """Begins to answer, and then says nothing."""
    begin(handler)
    time.sleep(3)


def change(handler: Handler) -> None:
    """The file changes at its source: other bytes, and another validator."""
    handler.server.content, handler.server.etag = handler.server.content[:-1] + b"?", '"two"'
    serve(handler)


@pytest.mark.parametrize("number", range(RANGES))
@pytest.mark.parametrize(
    "fault",
    [status(503), status(429, Retry_After="1"), lambda handler: handler.connection.close(), stall],
    ids=["503", "429", "no answer", "stall"],
)
def test_a_range_that_fails_is_tried_again_and_no_other(
    store: Store, server: FaultServer, model_file: ModelFile, fault: Fault, number: int
) -> None:
    server.otherwise = on_range(number, fault)
    assert fetched(store, server, model_file, timeout=1)["changed"]
    assert_whole(store, model_file)
    again = number * RANGE_BYTES
    assert [start for start in sorted(starts(server)) if start % RANGE_BYTES == 0 and start != again] == [
        other * RANGE_BYTES for other in range(RANGES) if other != number
    ]
    assert server.sent < len(model_file.content) + NETWORK_CHUNK_BYTES


def test_ranges_that_break_off_go_on_where_they_were(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    """Each whole range breaks off, each time within less than is tried again."""
    server.otherwise = lambda handler: (break_off(start(handler) + 5 * MIB) if whole(handler) else serve)(handler)
    assert fetched(store, server, model_file, retries=1)["changed"]
    assert_whole(store, model_file)
    lost = server.sent - len(model_file.content)
    assert 0 <= lost < (RANGES - 1) * NETWORK_CHUNK_BYTES
    assert len(server.ranges) == 2 * RANGES - 1


def test_a_range_that_never_comes_leaves_what_was_before_it(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    def answer(handler: Handler) -> None:
        (status(404) if start(handler) >= RANGE_BYTES else break_off(RANGE_BYTES))(handler)

    server.otherwise = answer
    failed = fetched(store, server, model_file)
    assert "HTTP 404" in failed["msg"]
    assert store.visible() == []
    assert (store.root / ".partial" / model_file.sha256 / "data").stat().st_size == RANGE_BYTES


def test_a_server_that_sends_more_than_a_range_is_not_listened_to(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    """Without a length, so that only the one who reads can tell."""

    def endless(handler: Handler) -> None:
        end = start(handler) + RANGE_BYTES
        handler.send_response(206)
        handler.send_header("ETag", server.etag)
        handler.send_header("Content-Range", f"bytes {start(handler)}-{end - 1}/{len(model_file.content)}")
        handler.end_headers()
        while True:
            handler.send(model_file.content[:MIB])

    server.otherwise = on_range(1, endless)
    failed = fetched(store, server, model_file)
    assert f"sent more than it announced, behind byte {2 * RANGE_BYTES - 1}" in failed["msg"]
    assert store.visible() == []
    assert server.sent < 2 * len(model_file.content)


def test_what_is_kept_in_memory_before_its_turn_is_bounded(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    go_on = threading.Event()

    def hold(handler: Handler) -> None:
        rest = begin(handler)
        if go_on.wait(60):
            handler.send(rest)

    server.otherwise = on_range(0, hold)
    run = store.start("model_download", **asked(server, model_file, connections=2))
    deadline = time.monotonic() + 60
    while server.sent < 2 * RANGE_BYTES + 1000:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    # Long enough to ask for another one.
    time.sleep(0.5)
    assert sorted(starts(server)) == [0, RANGE_BYTES, 2 * RANGE_BYTES]
    go_on.set()
    assert run.result()["changed"]
    assert_whole(store, model_file)


def test_all_connections_together_keep_the_rate_limit(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    started = time.monotonic()
    assert fetched(store, server, model_file, rate_limit=12 * MIB)["changed"]
    assert time.monotonic() - started > len(model_file.content) / (12 * MIB) * 0.9
    assert_whole(store, model_file)


def test_a_disk_that_fills_up_ends_all_connections(disk: Disk, server: FaultServer, model_file: ModelFile) -> None:
    def fill(handler: Handler) -> None:
        disk.fill()
        serve(handler)

    disk.fill(free=KEEP_FREE_BYTES + 30 * MIB)
    server.otherwise = on_range(2, fill)
    failed = fetched(disk.store, server, model_file)
    assert "free some space or choose another models_dir" in failed["msg"]
    assert (disk.store.visible(), disk.store.leftovers()) == (disk.visible, [])


@pytest.mark.parametrize("number", range(RANGES))
def test_a_file_that_changes_meanwhile_is_not_put_together_from_two(
    store: Store, server: FaultServer, model_file: ModelFile, number: int
) -> None:
    server.otherwise = on_range(number, change)
    failed = fetched(store, server, model_file)
    assert f"expected {model_file.sha256}" in failed["msg"]
    assert store.visible() == store.leftovers() == []


def ignores_the_end(handler: Handler) -> None:
    handler.headers.replace_header("Range", handler.headers["Range"].rpartition("-")[0] + "-")
    serve(handler)


@pytest.mark.parametrize("answer", [whole_for_range, ignores_the_end])
def test_a_server_that_sends_all_of_it_is_taken_at_its_word(
    store: Store, server: FaultServer, model_file: ModelFile, answer: Fault
) -> None:
    server.otherwise = answer
    assert fetched(store, server, model_file)["changed"]
    assert_whole(store, model_file)
    assert server.sent == len(model_file.content)


def test_a_server_that_conceals_the_length_is_named(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    server.otherwise = lambda handler: handler.begin(206, 4, Content_Range="bytes 0-3/*")
    assert "set connections to 1" in fetched(store, server, model_file)["msg"]
    assert store.visible() == []


def test_the_next_run_goes_on_with_the_ranges_that_are_left(
    store: Store, server: FaultServer, model_file: ModelFile
) -> None:
    server.otherwise = on_range(2, status(503))
    failed = fetched(store, server, model_file, retries=0)
    assert "HTTP 503" in failed["msg"]
    server.ranges.clear()
    assert fetched(store, server, model_file)["changed"]
    assert_whole(store, model_file)
    assert min(starts(server)) == 2 * RANGE_BYTES


def test_without_a_digest_it_is_one_connection(store: Store, server: FaultServer, model_file: ModelFile) -> None:
    options = {"name": "tiny", "source": server.url, "connections": 3, "trust_on_first_use": True}
    assert store.run("model_download", **options)["changed"]
    assert_whole(store, model_file)
    assert starts(server) == []


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("connections", 0, "connections is 0: 1 is the least that is possible"),
        ("connections", 17, "connections is 17: 16 are the most possible"),
        ("rate_limit", 0, "rate_limit is 0: 1 is the least that is possible"),
        ("retries", -1, "retries is -1: 0 is the least that is possible"),
        ("timeout", 0, "timeout is 0: 1 is the least that is possible"),
    ],
)
def test_what_is_possible_is_said(
    store: Store, server: FaultServer, model_file: ModelFile, option: str, value: int, message: str
) -> None:
    assert message in store.run("model_download", **asked(server, model_file, **{option: value}))["msg"]
    assert server.ranges == []
