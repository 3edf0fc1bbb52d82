"""Text comes out whole, whatever its tokens' borders are."""

from __future__ import annotations

import pytest

from model_service.llama.model import Model
from model_service.text import TextAssembler

SAMPLES = ["Grüße, 世界! 🙂👩‍👩‍👧‍👦", "naïve café — “quotes” …", "\n\ttabs\r\nand  spaces ", "русский текст"]


def feed_all(assembler: TextAssembler, pieces: list[bytes]) -> tuple[str, bool]:
    text = ""
    for piece in pieces:
        more, stopped = assembler.feed(piece)
        text += more
        if stopped:
            return text, True
    return text, False


@pytest.mark.parametrize("sample", SAMPLES)
def test_characters_split_over_bytes_come_out_whole(sample: str) -> None:
    assembler = TextAssembler()
    texts = [assembler.feed(bytes([byte]))[0] for byte in sample.encode()]
    assert "".join(texts) == sample
    assert "\ufffd" not in "".join(texts)


@pytest.mark.parametrize("sample", SAMPLES)
def test_the_models_own_tokens_give_the_text_back(model: Model, sample: str) -> None:
    pieces = [model.piece(token) for token in model.tokenize(sample, limit=512)]
    assert feed_all(TextAssembler(), pieces) == (sample, False)


def test_a_stop_string_over_token_borders_ends_the_text_before_it() -> None:
    assembler = TextAssembler(["END"])
    assert feed_all(assembler, [b"one E", b"N", b"D two"]) == ("one ", True)


def test_what_only_began_like_a_stop_string_is_sent_after_all() -> None:
    assembler = TextAssembler(["END"])
    assert assembler.feed(b"one EN") == ("one ", False)
    assert assembler.feed(b"OUGH") == ("ENOUGH", False)


def test_text_held_back_at_the_end_is_sent() -> None:
    assembler = TextAssembler(["END"])
    assert assembler.feed(b"one EN") == ("one ", False)
    assert assembler.finish() == "EN"


def test_the_earliest_of_several_stop_strings_counts() -> None:
    assert feed_all(TextAssembler(["late", "c"]), [b"abcd late"]) == ("ab", True)


def test_half_a_character_at_the_end_is_dropped() -> None:
    assembler = TextAssembler()
    assert assembler.feed("é".encode()[:1]) == ("", False)
    assert assembler.finish() == ""
