"""A chat template renders the model's form, in a process of its own that its faults don't outlive."""

from __future__ import annotations

import asyncio
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from model_service import chat_template
from model_service.chat_template import ChatTemplate, TemplateError, TemplateRenderer
from model_service.engine import OverloadedError
from model_service.llama.model import Model

USER = [{"role": "user", "content": "Hi"}]
ENDLESS = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"


@pytest_asyncio.fixture
async def renderer() -> AsyncGenerator[TemplateRenderer, None]:
    async with TemplateRenderer() as renderer:
        yield renderer


async def render(
    renderer: TemplateRenderer, source: str, messages: Sequence[dict[str, Any]] = USER, **also: Any
) -> str:
    return await ChatTemplate(renderer, source, "<s>", "</s>").render(messages, **also)


async def test_the_models_own_template_gives_its_form(renderer: TemplateRenderer, model: Model) -> None:
    assert model.chat_template is not None
    messages = [{"role": "system", "content": "Be brief."}, *USER]
    form = "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    assert await render(renderer, model.chat_template, messages) == form + "<|im_start|>assistant\n"
    assert await render(renderer, model.chat_template, messages, add_generation_prompt=False) == form


async def test_a_worker_that_takes_too_long_to_start_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_template, "_START_SECONDS", 0.001)
    monkeypatch.setattr(chat_template, "_PAUSE_SECONDS", 0.01)
    renderer = TemplateRenderer()
    starting = asyncio.create_task(renderer.__aenter__())
    started: set[Any] = set()
    while len(started) < 6:
        await asyncio.sleep(0.001)
        started |= renderer._all
        assert len(renderer._all) <= 2
    monkeypatch.undo()
    async with asyncio.timeout(60):
        await starting
    assert await render(renderer, "{{ bos_token }}") == "<s>"
    await renderer.__aexit__(None, None, None)
    assert all(worker.returncode is not None for worker in started)


async def test_what_hugging_face_offers_to_templates_is_there(renderer: TemplateRenderer) -> None:
    source = (
        "{{ bos_token }}{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}"
        "{{ m | tojson }}{% endfor %}{{ strftime_now('%Y') | length }}"
        "{% generation %}{{ tools[0] | tojson(indent=1) }}{% endgeneration %}{{ thinking }}{{ documents is none }}"
    )
    messages = [{"role": "user", "content": "<ü>"}, *USER]
    text = await render(renderer, source, messages, tools=[{"a": 1}], thinking="on")
    assert text == '<s>{"role": "user", "content": "<ü>"}4{\n "a": 1\n}onTrue'
    assert await render(renderer, "{{ tools is none }}") == "True"


async def test_a_template_that_refuses_the_messages_says_why(renderer: TemplateRenderer) -> None:
    with pytest.raises(TemplateError, match="roles must alternate") as caught:
        await render(renderer, "{{ raise_exception('roles must alternate') }}")
    assert caught.value.refused


async def test_a_template_with_a_syntax_error_names_the_line(renderer: TemplateRenderer) -> None:
    with pytest.raises(TemplateError, match="line 2"):
        await render(renderer, "ok\n{% for %}")


async def test_rendering_takes_little_time(renderer: TemplateRenderer, model: Model) -> None:
    assert model.chat_template is not None
    template = ChatTemplate(renderer, model.chat_template, "<s>", "</s>")
    seconds = []
    for _ in range(200):
        started = time.perf_counter()
        await template.render(USER * 10)
        seconds.append(time.perf_counter() - started)
    assert statistics.median(seconds) < 0.05  # a process of its own takes longer


async def test_others_are_rendered_while_a_template_does_not_end(renderer: TemplateRenderer) -> None:
    started = time.perf_counter()
    endless = asyncio.create_task(render(renderer, ENDLESS))
    await asyncio.sleep(0.1)
    texts = [await render(renderer, "{{ messages[0].content }}") for _ in range(20)]
    assert texts == ["Hi"] * 20
    assert not endless.done()
    with pytest.raises(TemplateError, match="did not end within 1 s") as caught:
        await endless
    assert not caught.value.refused
    assert 0.9 < time.perf_counter() - started < 60


async def test_nobody_waits_without_end_for_templates_that_do_not_end(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "_WAIT_SECONDS", 0.3)
    endless = [asyncio.create_task(render(renderer, ENDLESS)) for _ in range(2)]
    await asyncio.sleep(0.1)
    with pytest.raises(OverloadedError):
        await render(renderer, "Hi")
    await asyncio.gather(*endless, return_exceptions=True)


async def test_a_request_that_is_left_does_not_answer_the_next(renderer: TemplateRenderer) -> None:
    slow = "{% for i in range(30000) %}{% for j in range(20) %}{% endfor %}{% endfor %}slow"
    left = [asyncio.create_task(render(renderer, slow)) for _ in range(4)]
    await asyncio.sleep(0.02)
    for task in left:
        task.cancel()
    texts = await asyncio.gather(*(render(renderer, f"{{{{ {number} }}}}") for number in range(8)))
    assert texts == [str(number) for number in range(8)]


async def test_a_worker_that_is_killed_is_replaced(renderer: TemplateRenderer) -> None:
    for worker in tuple(renderer._all):
        os.kill(worker.pid, signal.SIGKILL)
    outcomes = await asyncio.gather(*(render(renderer, "Hi") for _ in range(6)), return_exceptions=True)
    assert sum(outcome == "Hi" for outcome in outcomes) >= 4
    assert all(outcome == "Hi" or isinstance(outcome, TemplateError) for outcome in outcomes)


async def test_a_prompt_may_be_large_but_not_without_limit(renderer: TemplateRenderer) -> None:
    large = [{"role": "user", "content": "x" * 1_000_000}]
    assert len(await render(renderer, "{{ messages[0].content }}" * 3, large)) == 3_000_000
    with pytest.raises(TemplateError, match="its prompt is over"):
        await render(renderer, "{{ messages[0].content }}" * 30, large)


async def test_workers_are_gone_when_the_renderer_is() -> None:
    async with TemplateRenderer() as renderer:
        workers = tuple(renderer._all)
        endless = asyncio.create_task(render(renderer, ENDLESS))
        await asyncio.sleep(0.1)
    assert workers
    assert all(worker.returncode is not None for worker in workers)
    with pytest.raises((TemplateError, asyncio.CancelledError)):
        await endless


@pytest.mark.parametrize(
    "escaped",
    ["open('/etc/passwd')", "__import__('socket').socket()", "__import__('os').pipe()", "bytearray(1 << 30)"],
)
def test_code_that_got_out_of_the_sandbox_could_open_nothing(escaped: str) -> None:
    code = f"import socket; from model_service import template_worker as worker; worker._lock_down(); {escaped}"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 1
    assert "Too many open files" in ended.stderr or "MemoryError" in ended.stderr


async def test_a_worker_has_none_of_the_services_environment(
    renderer: TemplateRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for worker in renderer._all:
        with open(f"/proc/{worker.pid}/environ") as environment:
            names = {line.partition("=")[0] for line in environment.read().split("\0") if line}
        assert names <= {"PYTHONPATH", "LC_CTYPE"}
