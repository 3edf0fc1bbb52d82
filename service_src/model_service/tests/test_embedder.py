"""Embeddings in parts and in batches are what llama.cpp pools at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
import pytest
from gguf_files import small_model
from numpy.typing import NDArray

from model_service.engine import Embeddings, EngineError, GenerationFailedError, NotReadyError, OverloadedError
from model_service.llama import embedder as embedder_module
from model_service.llama.bindings import llama
from model_service.llama.context import ContextSize
from model_service.llama.embedder import BATCH_TOKENS, Embedder, EmbeddingJob
from model_service.llama.model import Model
from model_service.llama.native_log import NativeLog

SIZE = ContextSize(slots=2, context=1024, kv_tokens=2048, step_tokens=256, threads=2)
TEXTS = ("A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose in March.", "Hi")


@contextmanager
def embedder_of(model: Model) -> Iterator[Embedder]:
    embedder = Embedder(model, SIZE, longest_wait_seconds=60)
    try:
        yield embedder
    finally:
        embedder.close()


@pytest.fixture
def embedder(model: Model) -> Iterator[Embedder]:
    with embedder_of(model) as embedder:
        yield embedder


@pytest.fixture(scope="module")
def small(model_path: Path, native_log: NativeLog, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    model = Model(small_model(model_path, tmp_path_factory.mktemp("small") / "small.gguf"), native_log)
    yield model
    model.close()


def job(*inputs: Sequence[int]) -> EmbeddingJob:
    return EmbeddingJob(inputs, asyncio.Future(loop=asyncio.new_event_loop()))


def tokens_of(model: Model, *texts: str) -> list[list[int]]:
    return [[int(token) for token in model.tokenize(text, 1024)] for text in texts]


def run(embedder: Embedder, *jobs: EmbeddingJob, busy: bool = False) -> list[Embeddings | EngineError]:
    """Their outcomes, in the order of the jobs."""
    for each in jobs:
        embedder.add(each)
    while embedder.has_work:
        embedder.step(busy=busy)
    outcomes = {id(each): outcome for each, outcome in embedder.outbox}
    assert len(outcomes) == len(embedder.outbox) == len(jobs)
    embedder.outbox = []
    return [outcomes[id(each)] for each in jobs]


def vectors(outcome: Embeddings | EngineError) -> NDArray[Any]:
    assert isinstance(outcome, Embeddings), outcome
    return numpy.array(outcome.vectors)


def pooled_by_llama_cpp(model: Model, tokens: list[int], pooling: int) -> NDArray[Any]:
    params = llama.llama_context_default_params()
    params.embeddings, params.pooling_type, params.n_ctx = True, pooling, 1024
    params.n_batch = params.n_ubatch = params.n_outputs_max = 1024
    context = llama.llama_init_from_model(model.handle, params)
    kept = (llama.llama_token * len(tokens))(*tokens)
    batch = llama.llama_batch_get_one(kept, len(tokens))
    assert llama.llama_decode(context, batch) == 0
    width = llama.llama_model_n_embd_out(model.handle)
    vector = numpy.ctypeslib.as_array(llama.llama_get_embeddings_seq(context, 0), shape=(width,)).copy()
    llama.llama_free(context)
    return vector / numpy.linalg.norm(vector)


def test_each_is_what_llama_cpp_pools(embedder: Embedder, model: Model) -> None:
    inputs = tokens_of(model, *TEXTS)
    (outcome,) = run(embedder, job(*inputs))
    found = vectors(outcome)
    assert numpy.allclose(numpy.linalg.norm(found, axis=1), 1)
    for tokens, vector in zip(inputs, found, strict=True):
        assert vector @ pooled_by_llama_cpp(model, tokens, llama.LLAMA_POOLING_TYPE_MEAN) > 0.9999
    assert isinstance(outcome, Embeddings)
    assert outcome.prompt_tokens == sum(map(len, inputs))


def test_what_means_the_same_is_closer_than_what_does_not(embedder: Embedder, model: Model) -> None:
    cat, kitten, rates, _ = vectors(run(embedder, job(*tokens_of(model, *TEXTS)))[0])
    assert cat @ kitten > cat @ rates


@pytest.mark.parametrize("busy", [False, True])
def test_an_input_in_parts_is_the_same_as_at_once(embedder: Embedder, small: Model, busy: bool) -> None:
    (tokens,) = tokens_of(small, "Apples are red. Bananas are yellow. " * 60)
    assert len(tokens) > 2 * BATCH_TOKENS
    with embedder_of(small) as own:
        (vector,) = vectors(run(own, job(tokens), busy=busy)[0])
    assert vector @ pooled_by_llama_cpp(small, tokens, llama.LLAMA_POOLING_TYPE_MEAN) > 0.9999


@pytest.mark.parametrize(
    ("kind", "pooling"), [(2, llama.LLAMA_POOLING_TYPE_CLS), (3, llama.LLAMA_POOLING_TYPE_LAST)], ids=["first", "last"]
)
def test_the_models_own_pooling_is_used(
    model_path: Path, tmp_path: Path, native_log: NativeLog, kind: int, pooling: int
) -> None:
    model = Model(small_model(model_path, tmp_path / "small.gguf", llama__pooling_type=kind), native_log)
    inputs = tokens_of(model, "Apples are red. " * 60, "Hi there")
    with embedder_of(model) as own:
        found = vectors(run(own, job(*inputs))[0])
    for tokens, vector in zip(inputs, found, strict=True):
        assert vector @ pooled_by_llama_cpp(model, tokens, pooling) > 0.9999
    model.close()


def test_many_inputs_of_many_jobs_each_get_their_own(small: Model) -> None:
    texts = [f"Number {number} " + "and so on " * (number % 7) for number in range(80)]
    inputs = tokens_of(small, *texts)
    with embedder_of(small) as own:
        alone = numpy.concatenate([vectors(run(own, job(tokens))[0]) for tokens in inputs])
        together = run(own, job(*inputs[:50]), job(*inputs[50:55]), job(*inputs[55:]))
    assert numpy.allclose(numpy.concatenate([vectors(each) for each in together]), alone, atol=0.01)


def test_a_small_job_does_not_wait_for_a_large_one(small: Model) -> None:
    with embedder_of(small) as own:
        large, little = job(*([[1] * 60] * 100)), job([2, 3, 4])
        own.add(large)
        own.add(little)
        own.step(busy=False)
        assert [each for each, _ in own.outbox] == [little]


@pytest.mark.parametrize(
    ("token_seconds", "busy", "expected"), [(0.001, True, 50), (0.1, True, 8), (0.0001, True, 128), (0.1, False, 128)]
)
def test_beside_streams_a_step_takes_as_many_tokens_as_the_time_allows(
    small: Model, token_seconds: float, busy: bool, expected: int
) -> None:
    with embedder_of(small) as own:
        own._token_seconds = token_seconds
        own.add(job([1] * 500))
        own.step(busy=busy)
        assert own._begun[0].computed == expected


def test_a_job_that_is_left_takes_no_more_time(small: Model) -> None:
    with embedder_of(small) as own:
        left, stays = job(*([[1] * 100] * 20)), job([2, 3, 4])
        own.add(left)
        own.step(busy=False)
        own.cancel(left)
        assert not own.has_work
        (outcome,) = run(own, stays)
        assert isinstance(outcome, Embeddings)
        own.cancel(stays)


def test_a_batch_that_fails_fails_only_who_is_at_fault(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = embedder_module._Context.decode

    def failing(context: Any, parts: Any) -> int:
        return 1 if any(666 in part.input.tokens for part in parts) else decode(context, parts)

    monkeypatch.setattr(embedder_module._Context, "decode", failing)
    with embedder_of(small) as own:
        good, bad, fine = run(own, job([1, 2], [3]), job([4], [666, 5]), job([6]))
        assert isinstance(good, Embeddings)
        assert isinstance(bad, GenerationFailedError)
        assert isinstance(fine, Embeddings)
        assert isinstance(run(own, job([7]))[0], Embeddings)


def test_a_lost_context_is_made_anew(small: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    with embedder_of(small) as own:
        monkeypatch.setattr(embedder_module._Context, "decode", lambda *_: -3)
        assert isinstance(run(own, job([1, 2]))[0], GenerationFailedError)
        monkeypatch.undo()
        assert isinstance(run(own, job([1, 2]))[0], Embeddings)


def test_a_job_that_waits_too_long_for_its_beginning_is_told_so(small: Model) -> None:
    with embedder_of(small) as own:
        begun, late = job(*([[1] * BATCH_TOKENS] * 3)), job([2, 3, 4])
        own.add(begun)
        own.add(late)
        own.step(busy=False)
        own._longest_wait_seconds = 0.0
        while own.has_work:
            own.step(busy=False)
        outcomes = dict(own.outbox)
        assert isinstance(outcomes[begun], Embeddings)
        refusal = outcomes[late]
        assert isinstance(refusal, OverloadedError)
        assert refusal.reason == "queue_timeout"


def test_closing_ends_what_is_left(small: Model) -> None:
    with embedder_of(small) as own:
        own.add(job([1] * 500))
        own.add(job([2]))
        own.step(busy=False)
        own.end_all(NotReadyError("stopping"))
        assert len(own.outbox) == 2
        assert not own.has_work
