"""Whatever is sent to what /openapi.json describes, the answer is one that it describes: schemathesis, on a real model.

``MODEL_TEST_FUZZ_EXAMPLES`` is how many requests each run makes up for each operation, beside those that schemathesis
derives from each bound and type in the description.
"""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from support import MODEL, ServedModel

EXAMPLES = os.environ.get("MODEL_TEST_FUZZ_EXAMPLES", "8")
KEY = "fuzz-key"
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "ignored_auth",
)
# Not among them:
# - positive_data_acceptance: rules between fields, grammars and the context's size are beyond what a description says.
# - negative_data_rejection: "1" is taken for 1, as OpenAI does, and fields that change nothing are taken as they are.
# - missing_required_header: there is none but Authorization, which ignored_auth is about.
# - use_after_free, ensure_resource_availability, object_level_authorization: no request makes or deletes anything.
FEW = {"type": "integer", "minimum": 1, "maximum": 2}
LENGTHS = {
    "ChatRequest": "max_completion_tokens",
    "CompletionRequest": "max_tokens",
    "ResponseRequest": "max_output_tokens",
}
OPEN = ("/health/live", "/health/ready", "/metrics")


@pytest.fixture(scope="module")
def guarded(model_path: Path) -> Iterator[ServedModel]:
    """Answers are short in its small context, and one thread is enough for them."""
    settings = {"MODEL_CONTEXT": 128, "MODEL_THREADS": 1, "MODEL_API_KEYS": KEY}
    with ServedModel(MODEL_PATH=model_path, **settings) as served:
        yield served


@pytest.fixture
def described(guarded: ServedModel) -> dict[str, Any]:
    document: dict[str, Any] = httpx.get(f"{guarded.url}/openapi.json").json()
    return document


def fuzz(
    served: ServedModel, document: dict[str, Any], folder: Path, key: str | None, phases: str = "coverage,fuzzing"
) -> dict[tuple[str, int], float]:
    """Runs schemathesis; returns how many requests to each path were answered with each status."""
    file = folder / "openapi.json"
    file.write_text(json.dumps(document))
    before = statuses(served)
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(file), "--url", served.url, "--no-color"),
        *("--phases", phases, "--checks", ",".join(CHECKS), "--max-examples", EXAMPLES),
        *("--seed", "1", "--request-timeout", "120", "--continue-on-failure", "--warnings", "off"),
        *(("--header", f"Authorization: Bearer {key}") if key else ()),
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return {key: count - before.get(key, 0) for key, count in statuses(served).items() if count > before.get(key, 0)}


def statuses(served: ServedModel) -> dict[tuple[str, int], float]:
    counts: dict[tuple[str, int], float] = {}
    for line in httpx.get(f"{served.url}/metrics").text.splitlines():
        if line.startswith("llm_http_requests_total{"):
            labels = dict(re.findall(r'(\w+)="([^"]*)"', line))
            key = labels["route"], int(labels["status"])
            counts[key] = counts.get(key, 0) + float(line.rpartition(" ")[2])
    return counts


def narrowed(document: dict[str, Any]) -> dict[str, Any]:
    """The description for a client that knows the model's name and wants little: more of it reaches the engine."""
    narrow = copy.deepcopy(document)
    schemas = narrow["components"]["schemas"]
    for schema in (schema for name, schema in schemas.items() if name.endswith("Request")):
        schema["additionalProperties"] = False
        schema["properties"]["model"] = {"const": MODEL}
        schema["properties"].pop("grammar", None)  # what is made up is none
        schema["properties"] |= {"n": FEW} if "n" in schema["properties"] else {}
    schemas["ChatRequest"]["properties"].pop("max_tokens")  # only one of the two names can be given
    message = schemas["Message"]["properties"]
    message["role"] = {"enum": ["system", "user", "assistant"]}
    for field in ("tool_calls", "tool_call_id"):  # there are rules between these and the role
        message.pop(field)
    for name, length in LENGTHS.items():
        schemas[name]["properties"][length] = FEW
        schemas[name]["required"].append(length)
    return narrow


def test_with_a_key_the_answers_are_as_described(
    guarded: ServedModel, described: dict[str, Any], tmp_path: Path
) -> None:
    found = fuzz(guarded, described, tmp_path, KEY)
    assert {status for _, status in found} >= {200, 400, 404}


def test_the_engines_answers_are_as_described(guarded: ServedModel, described: dict[str, Any], tmp_path: Path) -> None:
    found = fuzz(guarded, narrowed(described), tmp_path, KEY)
    answered = {path for path, status in found if status == 200}
    assert answered == set(described["paths"]) - {"/v1/models/{model}"} | {"/v1/models/{model:path}"}


def test_without_a_key_only_what_is_open_answers(
    guarded: ServedModel, described: dict[str, Any], tmp_path: Path
) -> None:
    for path in set(described["paths"]) - set(OPEN):
        for operation in described["paths"][path].values():
            operation["security"] = []  # else a key would be made up
    found = fuzz(guarded, described, tmp_path, None, phases="fuzzing")
    assert {path for path, status in found if status == 200} == set(OPEN)
    assert {status for path, status in found if path not in OPEN} <= {400, 401, 404, 405}
