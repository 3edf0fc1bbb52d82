"""Byte ranges: what a client gets is what slicing the content gives."""

from __future__ import annotations

import hashlib
import random

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage_service import transfer
from storage_service.errors import RangeNotSatisfiable
from storage_service.ranges import parse_range

BODY = random.Random(7).randbytes(5000)
URL = "/v1/files/random"


@given(st.integers(1, 200), st.integers(0, 300), st.integers(0, 300))
def test_a_bounded_range_is_the_slice(size: int, first: int, last: int) -> None:
    content = range(size)
    header = f"bytes={first}-{last}"
    if last < first:
        assert parse_range(header, size) is None
    elif first >= size:
        with pytest.raises(RangeNotSatisfiable):
            parse_range(header, size)
    else:
        assert parse_range(header, size) == content[first : last + 1]


@given(st.integers(1, 200), st.integers(0, 300))
def test_an_open_and_a_suffix_range_are_slices(size: int, number: int) -> None:
    content = range(size)
    for header, part in ((f"bytes={number}-", content[number:]), (f"bytes=-{number}", content[-number:])):
        if len(part) == 0 or header == "bytes=-0":
            with pytest.raises(RangeNotSatisfiable):
                parse_range(header, size)
        else:
            assert parse_range(header, size) == part


@given(st.text(max_size=30))
def test_any_other_header_is_ignored_or_a_part_of_the_file(text: str) -> None:
    for header in (text, f"bytes={text}"):
        try:
            part = parse_range(header, 100)
        except RangeNotSatisfiable:
            continue
        assert part is None or (0 <= part.start < part.stop <= 100 and part.step == 1)


@pytest.mark.parametrize("header", ["bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=5-2"])
async def test_a_header_that_is_not_one_range_gives_the_whole(client: httpx.AsyncClient, header: str) -> None:
    await client.put(URL, content=BODY)
    response = await client.get(URL, headers={"Range": header})
    assert (response.status_code, response.content) == (200, BODY)


async def test_ranges_of_a_file_are_slices_of_its_bytes(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "READ_BYTES", 512)  # so that most ranges span several reads
    await client.put(URL, content=BODY)
    rng = random.Random(11)
    for _ in range(200):
        first = rng.randrange(len(BODY))
        last = rng.randrange(first, len(BODY) + 100)
        for header, start, stop in (
            (f"bytes={first}-{last}", first, min(last + 1, len(BODY))),
            (f"bytes={first}-", first, len(BODY)),
            (f"bytes=-{last + 1}", max(0, len(BODY) - last - 1), len(BODY)),
        ):
            response = await client.get(URL, headers={"Range": header})
            assert (response.status_code, response.content) == (206, BODY[start:stop]), header
            assert response.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(BODY)}"
            assert response.headers["Content-Length"] == str(stop - start)


@pytest.mark.parametrize("header", ["bytes=5000-", "bytes=9999999999-", "bytes=5000-6000", "bytes=-0"])
async def test_a_range_after_the_end_is_refused_with_the_size(client: httpx.AsyncClient, header: str) -> None:
    await client.put(URL, content=BODY)
    response = await client.get(URL, headers={"Range": header})
    assert response.status_code == 416
    assert response.headers["Content-Range"] == "bytes */5000"


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        (f'"{hashlib.sha256(BODY).hexdigest()}"', 206),
        (f'W/"{hashlib.sha256(BODY).hexdigest()}"', 200),
        ('"of an older file"', 200),
        ("Sun, 22 Nov 2026 00:00:00 GMT", 200),
    ],
)
async def test_if_range_gives_the_whole_of_another_version(
    client: httpx.AsyncClient, if_range: str, status: int
) -> None:
    await client.put(URL, content=BODY)
    response = await client.get(URL, headers={"Range": "bytes=1-2", "If-Range": if_range})
    assert response.status_code == status
    assert response.content == (BODY[1:3] if status == 206 else BODY)
