"""Starting and stopping: a wrong setting or model ends it with one line, SIGTERM lets streams finish."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support import TIMEOUT_SECONDS, ServedModel, ask, failure, wait_until

from model_service.app import build_app
from model_service.llama.native_log import NativeLog
from model_service.settings import ModelSettings

STREAMS = 16


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
        ({"MODEL_PATH": "/nonexistent.gguf"}, "MODEL_PATH"),
        ({"MODEL_PATH": __file__, "MODEL_SLOTS": "0"}, "MODEL_SLOTS"),
        ({"MODEL_PATH": __file__, "MODEL_GPU_LAYERS": "-2"}, "MODEL_GPU_LAYERS"),
        ({"MODEL_PATH": __file__, "USE_INT8": "perhaps"}, "USE_INT8"),
        ({"MODEL_PATH": __file__, "MODEL_CACHE_URL": "nowhere"}, "MODEL_CACHE_URL"),
    ],
)
def test_a_wrong_setting_is_named(settings: dict[str, object], named: str) -> None:
    status, line = failure(**settings)
    assert status == 2
    assert f"model-service: setting MODEL_{named.removeprefix('MODEL_')}:" in line


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "give MODEL_PATH for one model, or MODEL_MODELS for several"),
        ({"MODEL_PATH": __file__, "MODEL_MODELS": [{"name": "a", "path": __file__}]}, "give MODEL_PATH for one model"),
        ({"MODEL_MODELS": [{"name": "a", "path": __file__}] * 2}, "two of MODEL_MODELS have the same name"),
        ({"MODEL_MODELS": [{"name": "a", "path": "/nonexistent.gguf"}]}, "setting MODEL_MODELS_0_PATH: Path does not"),
        ({"MODEL_MODELS": [{"name": "a", "path": __file__, "slot": 1}]}, "setting MODEL_MODELS_0_SLOT: Extra inputs"),
    ],
    ids=["none", "both", "a name twice", "no file", "an unknown word"],
)
def test_models_that_can_not_be_served_are_named(settings: dict[str, object], said: str) -> None:
    models = settings.get("MODEL_MODELS")
    status, line = failure(**settings | ({"MODEL_MODELS": json.dumps(models)} if models else {}))
    assert status == 2
    assert said in line


@pytest.mark.parametrize("use_int8", ["true", "false"])
def test_a_file_that_is_no_model_is_named(use_int8: str) -> None:
    status, line = failure(MODEL_PATH=__file__, MODEL_USE_INT8=use_int8)
    assert status == 2
    assert line.startswith(f"model-service: cannot load {__file__}: its first bytes, the magic number, are")
    assert line.endswith("download the file again, or serve another one")


def test_a_file_cut_short_is_refused(model_path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.gguf"
    with model_path.open("rb") as whole:
        cut.write_bytes(whole.read(20_000_000))
    status, line = failure(MODEL_PATH=cut)
    assert status in (1, 2)
    assert line.startswith(f"model-service: cannot load {cut}")


def test_sigterm_with_sixteen_streams_ends_readiness_first_and_no_stream(model_path: Path) -> None:
    begun = threading.Barrier(STREAMS + 1, timeout=TIMEOUT_SECONDS)

    def last_line(http: httpx.Client) -> str:
        body = ask("Tell a story.", stream=True, max_tokens=100, temperature=1.0)
        with http.stream("POST", "/v1/chat/completions", json=body) as response:
            lines = response.iter_lines()
            next(lines)
            begun.wait()
            return [line for line in lines if line][-1]

    settings = {"MODEL_SLOTS": STREAMS, "MODEL_DRAIN_GRACE_SECONDS": 5, "MODEL_QUEUE_TIMEOUT_SECONDS": TIMEOUT_SECONDS}
    with (
        ServedModel(MODEL_PATH=model_path, **settings) as served,
        httpx.Client(base_url=served.url, timeout=TIMEOUT_SECONDS) as http,
        ThreadPoolExecutor(STREAMS) as pool,
    ):
        streams = [pool.submit(last_line, http) for _ in range(STREAMS)]
        begun.wait()
        served.terminate()
        wait_until(lambda: http.get("/health/ready").status_code == 503)
        assert not any(stream.done() for stream in streams)
        # Still accepted, as a gateway that has not noticed yet sends it here.
        assert http.post("/v1/chat/completions", json=ask()).status_code == 200
        assert [stream.result() for stream in streams] == ["data: [DONE]"] * STREAMS


async def test_full_garbage_collections_leave_out_what_stays(model_path: Path, native_log: NativeLog) -> None:
    app = build_app(ModelSettings(path=model_path, context=256, slots=1), native_log, pytest.fail)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS), app.router.lifespan_context(app):
            while not gc.get_freeze_count():
                await asyncio.sleep(0.01)
            assert len(gc.get_objects()) < gc.get_freeze_count() / 5
    finally:
        gc.unfreeze()
