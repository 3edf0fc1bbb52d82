"""Embeddings over the API, as OpenAI's client asks for them."""

from __future__ import annotations

import asyncio
import base64
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy
import pytest
from openai import OpenAI
from support import MODEL, ServedModel, ask

from model_service import embeddings
from model_service.engine import Embeddings
from model_service.schemas.embeddings import EmbeddingsRequest

EMBEDDINGS = "/v1/embeddings"
TEXTS = ["A cat sits on the mat.", "A kitten rests on a rug.", "Interest rates rose in March."]


def vectors(http: httpx.Client, given: Any, **fields: Any) -> list[list[float]]:
    response = http.post(EMBEDDINGS, json={"model": MODEL, "input": given, **fields})
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [each["index"] for each in data] == list(range(len(data)))
    return [each["embedding"] for each in data]


def test_each_of_openais_forms_of_input_is_taken(http: httpx.Client) -> None:
    tokens = [http.post("/tokenize", json={"content": text, "add_special": True}).json()["tokens"] for text in TEXTS]
    of_texts = numpy.array(vectors(http, TEXTS))
    assert numpy.allclose(numpy.linalg.norm(of_texts, axis=1), 1, atol=1e-5)
    assert numpy.allclose(vectors(http, tokens), of_texts, atol=0.01)
    assert numpy.allclose(vectors(http, TEXTS[0]), of_texts[:1], atol=0.01)
    assert numpy.allclose(vectors(http, tokens[0]), of_texts[:1], atol=0.01)
    cat, kitten, rates = of_texts
    assert cat @ kitten > cat @ rates


def test_the_usage_counts_all_tokens(http: httpx.Client) -> None:
    answer = http.post(EMBEDDINGS, json={"model": MODEL, "input": [[1, 2, 3], [4, 5]]}).json()
    assert answer["usage"] == {"prompt_tokens": 5, "total_tokens": 5}
    assert (answer["object"], answer["model"]) == ("list", MODEL)


def test_base64_is_the_same_in_32_bit_floats(http: httpx.Client) -> None:
    (encoded,) = vectors(http, "Hi", encoding_format="base64")
    assert isinstance(encoded, str)
    decoded = numpy.frombuffer(base64.b64decode(encoded), dtype="<f4")
    assert numpy.allclose(decoded, vectors(http, "Hi")[0], atol=1e-4)
    assert len(vectors(http, "Hi", dimensions=len(decoded))[0]) == len(decoded)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"dimensions": 7}, "dimensions"),
        ({"dimensions": 0}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": ["Hi", ""]}, "input"),
        ({"input": [[]]}, "input.0.tokens"),
        ({"input": [-1]}, "input.0.tokens.0"),
        ({"input": [9_999_999]}, "input"),
        ({"input": "word " * 1000}, "input"),
        ({"input": ["x"] * 2049}, "input"),
        ({"input": {"a": 1}}, "input.0.text"),
        ({"truncate": True}, "truncate"),
    ],
    ids=str,
)
def test_what_can_not_be_embedded_is_named(http: httpx.Client, fields: dict[str, Any], named: str) -> None:
    response = http.post(EMBEDDINGS, json={"model": MODEL, "input": "Hi", **fields})
    assert response.status_code == 400
    assert response.json()["error"]["param"] == named


def test_what_is_refused_is_counted(http: httpx.Client, served: ServedModel) -> None:
    counts = []
    for _ in range(2):
        answer = http.post(EMBEDDINGS, json={"model": MODEL, "input": "word " * 9000})
        assert answer.json()["error"]["code"] == "context_length_exceeded"
        counts.append(served.metric('llm_requests_rejected_total{reason="context_length_exceeded"}'))
    assert counts[1] == counts[0] + 1


def test_openais_client_gets_vectors(served: ServedModel) -> None:
    client = OpenAI(base_url=f"{served.url}/v1", api_key="any")
    answer = client.embeddings.create(model=MODEL, input=TEXTS, user="somebody")  # it asks for base64 by itself
    assert len(answer.data) == 3
    assert numpy.isclose(numpy.linalg.norm(answer.data[0].embedding), 1, atol=1e-4)
    with pytest.raises(Exception, match="does not exist"):
        client.embeddings.create(model="other", input="Hi")


def test_streams_go_on_while_embeddings_are_computed(http: httpx.Client, served: ServedModel) -> None:
    with ThreadPoolExecutor(3) as pool:
        jobs = [pool.submit(vectors, http, [f"{text} {number}" for number in range(30)]) for text in TEXTS]
        answer = http.post("/v1/chat/completions", json=ask("Tell a story.", max_tokens=40))
        assert answer.status_code == 200
        assert answer.json()["usage"]["completion_tokens"] >= 1
        assert [len(job.result()) for job in jobs] == [30] * 3
    assert served.metric("llm_embedding_inputs_total") >= 90


def test_a_request_that_is_left_leaves_nothing_behind(http: httpx.Client, served: ServedModel) -> None:
    with pytest.raises(httpx.TimeoutException):
        http.post(EMBEDDINGS, json={"model": MODEL, "input": ["word " * 400] * 200}, timeout=0.5)
    assert len(vectors(http, "Hi")) == 1


async def test_a_long_answer_is_written_while_others_get_their_turn() -> None:
    request = EmbeddingsRequest(model=MODEL, input="Hi")
    found = Embeddings([[0.5, float(number)] for number in range(200)], 200)
    writing = asyncio.create_task(embeddings._json_of(found, request))
    turns = 0
    while not writing.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 100
    data = json.loads(writing.result())["data"]
    assert [(each["index"], each["embedding"]) for each in data] == [(n, [0.5, n]) for n in range(200)]
