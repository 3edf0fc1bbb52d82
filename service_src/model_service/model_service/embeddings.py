"""Embeddings from request to answer."""

from __future__ import annotations

import base64
import time
from typing import Any

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


async def embeddings_answer(engine: Engine, request: EmbeddingsRequest) -> dict[str, Any]:
    """OpenAI's form of the inputs' embeddings; raises an EngineError."""
    started = time.perf_counter()
    inputs = [prompt.text if prompt.tokens is None else tuple(prompt.tokens) for prompt in request.input]
    try:
        found = await engine.embed(inputs)
    except EngineError as error:
        count_rejection(error, request.model)
        raise
    _check_dimensions(found, request.dimensions)
    INPUTS.labels(request.model).inc(len(inputs))
    TOKENS.labels(request.model).inc(found.prompt_tokens)
    SECONDS.labels(request.model).observe(time.perf_counter() - started)
    encoded = [_encoded(vector) for vector in found.vectors] if request.encoding_format == "base64" else found.vectors
    # A plain dictionary: to check a hundred thousand numbers that were made here would take longer than to send them.
    return {
        "object": "list",
        "data": [{"object": "embedding", "index": index, "embedding": each} for index, each in enumerate(encoded)],
        "model": request.model,
        "usage": {"prompt_tokens": found.prompt_tokens, "total_tokens": found.prompt_tokens},
    }


def _check_dimensions(found: Embeddings, asked: int | None) -> None:
    has = len(found.vectors[0])
    if asked is not None and asked != has:
        raise InvalidRequestError("dimensions", f"This model's embeddings have {has} dimensions, and no other number")


def _encoded(vector: list[float]) -> str:
    return base64.b64encode(numpy.array(vector, dtype="<f4").tobytes()).decode()
