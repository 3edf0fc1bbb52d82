"""Starting and stopping: a wrong setting or model ends it with one line, SIGTERM lets streams finish."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from support import TIMEOUT_SECONDS, ServedModel, ask, free_port, output_of, service_process


def failure(**settings: object) -> tuple[int, str]:
    """The exit status and the last line of a service that does not start."""
    process = service_process(MODEL_HOST="127.0.0.1", MODEL_PORT=free_port(), **settings)
    status = process.wait(TIMEOUT_SECONDS)
    return status, output_of(process).strip().splitlines()[-1]


def test_a_model_that_is_not_int8_is_refused(source_path: Path) -> None:
    status, line = failure(MODEL_PATH=source_path)
    assert status == 2
    assert line.startswith(f"model-service: {source_path} is not INT8")


def test_a_model_that_is_not_int8_is_served_where_that_is_allowed(source_path: Path) -> None:
    settings = {"MODEL_PATH": source_path, "USE_INT8": "false"}
    with ServedModel(**settings) as served, httpx.Client(base_url=served.url, timeout=120) as http:
        assert http.post("/v1/chat/completions", json=ask(max_tokens=2)).status_code == 200


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({}, "MODEL_PATH"),
        ({"MODEL_PATH": "/nonexistent.gguf"}, "MODEL_PATH"),
        ({"MODEL_PATH": __file__, "MODEL_SLOTS": "0"}, "MODEL_SLOTS"),
        ({"MODEL_PATH": __file__, "USE_INT8": "perhaps"}, "USE_INT8"),
        ({"MODEL_PATH": __file__, "MODEL_CACHE_URL": "nowhere"}, "MODEL_CACHE_URL"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], named: str) -> None:
    status, line = failure(**settings)
    assert status == 2
    assert f"model-service: setting MODEL_{named.removeprefix('MODEL_')}:" in line


@pytest.mark.parametrize(("use_int8", "expected"), [("true", 2), ("false", 1)])
def test_a_file_that_is_no_model_is_named(use_int8: str, expected: int) -> None:
    status, line = failure(MODEL_PATH=__file__, MODEL_USE_INT8=use_int8)
    assert status == expected
    assert line.startswith(f"model-service: cannot load {__file__}: gguf")
    assert "magic" in line


def test_a_file_cut_short_is_refused(model_path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with model_path.open("rb") as whole:
        cut.write_bytes(whole.read(20_000_000))
    status, line = failure(MODEL_PATH=cut)
    assert status in (1, 2)
    assert line.startswith(f"model-service: cannot load {cut}")


def test_sigterm_lets_a_stream_finish(model_path: Path) -> None:
    with (
        ServedModel(MODEL_PATH=model_path) as served,
        httpx.Client(base_url=served.url, timeout=120) as http,
        http.stream("POST", "/v1/chat/completions", json=ask("Tell a story.", stream=True, max_tokens=100)) as response,
    ):
        lines = response.iter_lines()
        next(lines)
        served.terminate()
        assert [line for line in lines if line][-1] == "data: [DONE]"
