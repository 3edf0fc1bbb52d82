"""Embeddings from request to answer."""

from __future__ import annotations

import asyncio
import base64
import json
import time

import numpy
from prometheus_client import Counter, Histogram

from model_service.engine import Embeddings, Engine, EngineError, InvalidRequestError
from model_service.metrics import count_rejection
from model_service.schemas.embeddings import EmbeddingsRequest
from service_kit.metrics import DURATION_BUCKETS

_BY_MODEL = ["model_name"]

INPUTS = Counter("llm_embedding_inputs_total", "Texts that were embedded", _BY_MODEL)
TOKENS = Counter("llm_embedding_tokens_total", "Tokens that were embedded", _BY_MODEL)
SECONDS = Histogram(
    "llm_embedding_request_seconds", "From a request's arrival to its last vector", _BY_MODEL, buckets=DURATION_BUCKETS
)


async def embeddings_answer(engine: Engine, request: EmbeddingsRequest) -> bytes:
    """OpenAI's form of the inputs' embeddings, as JSON; raises an EngineError."""
    started = time.perf_counter()
    _check_dimensions(engine.facts.embedding_length, request.dimensions)
    inputs = [prompt.text if prompt.tokens is None else tuple(prompt.tokens) for prompt in request.input]
    try:
        found = await engine.embed(inputs)
    except EngineError as error:
        count_rejection(error, request.model)
        raise
    INPUTS.labels(request.model).inc(len(inputs))
    TOKENS.labels(request.model).inc(found.prompt_tokens)
    SECONDS.labels(request.model).observe(time.perf_counter() - started)
    return await _json_of(found, request)


def _check_dimensions(length: int | None, asked: int | None) -> None:
    if asked is not None and asked != length:
        raise InvalidRequestError(
            "dimensions", f"This model's embeddings have {length} dimensions, and no other number"
        )


async def _json_of(found: Embeddings, request: EmbeddingsRequest) -> bytes:
    """Piece by piece: a million numbers take a second, in which nothing else would be sent or computed."""
    data = []
    for index, vector in enumerate(found.vectors):
        embedding = _encoded(vector) if request.encoding_format == "base64" else vector
        data.append(json.dumps({"object": "embedding", "index": index, "embedding": embedding}))
        await asyncio.sleep(0)
    usage = {"prompt_tokens": found.prompt_tokens, "total_tokens": found.prompt_tokens}
    rest = json.dumps({"object": "list", "model": request.model, "usage": usage})
    return f'{rest[:-1]}, "data": [{", ".join(data)}]}}'.encode()


def _encoded(vector: list[float]) -> str:
    return base64.b64encode(numpy.array(vector, dtype="<f4").tobytes()).decode()
