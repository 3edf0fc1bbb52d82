"""The model's chat template, rendered in a worker process: it comes with the model, so it is not trusted."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import sys
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from model_service.engine import OverloadedError
from model_service.template_worker import ANSWER_HEAD, FAILED, LENGTH, REFUSED, RENDERED

log = logging.getLogger(__name__)

RENDER_SECONDS = 1.0
_START_SECONDS = 60.0
# Two, so that while one is busy with a template that doesn't end, others are rendered.
_WORKERS = 2
_WAIT_SECONDS = 10.0
_PAUSE_SECONDS = 1.0
# A prompt holds its messages, once or a few times, and what the template says around them.
_LEAST_LIMIT_BYTES = 1 << 20
_LIMIT_PER_INPUT_BYTE = 4
_PACKAGE_ROOT = Path(__file__).parents[1]


Result = TypeVar("Result")
Worker = asyncio.subprocess.Process


class TemplateError(Exception):
    """The template can't be used, or broke on these messages; ``refused`` when it said so itself."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ChatTemplate:
    """Renders messages to a prompt as Hugging Face's ``apply_chat_template`` does."""

    def __init__(self, renderer: TemplateRenderer, source: str, bos_text: str, eos_text: str) -> None:
        self.digest = digest_of(source)
        self._renderer = renderer
        self._source = source
        self._tokens = {"bos_token": bos_text, "eos_token": eos_text}

    async def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        add_generation_prompt: bool = True,
        **extras: Any,
    ) -> str:
        """The prompt, up to where the assistant's answer begins. ``extras`` are variables of the template."""
        given = {
            "messages": messages,
            "tools": tools,
            "documents": None,
            "add_generation_prompt": add_generation_prompt,
        }
        return await self._renderer.render(self._source, {**self._tokens, **extras, **given})


class TemplateRenderer:
    """Worker processes that render templates; one that takes too long or breaks is replaced."""

    def __init__(self) -> None:
        self._idle: asyncio.Queue[Worker] = asyncio.Queue()
        self._all: set[Worker] = set()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(self._start_worker() for _ in range(_WORKERS)))
        return self

    async def __aexit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for worker in self._all:
            _kill(worker)
        await asyncio.gather(*(worker.wait() for worker in self._all))

    async def render(self, source: str, variables: Mapping[str, Any]) -> str:
        """The text; TemplateError where there is none within RENDER_SECONDS."""
        asked = json.dumps(variables)
        limit = max(_LEAST_LIMIT_BYTES, _LIMIT_PER_INPUT_BYTE * len(asked))
        request = f'{{"source":{json.dumps(source)},"variables":{asked},"limit":{limit}}}'.encode()
        try:
            async with asyncio.timeout(_WAIT_SECONDS):
                worker = await self._idle.get()
        except TimeoutError:
            message = "Chat templates take too long on this server at the moment; try again later"
            raise OverloadedError("queue_timeout", message, retry_after=round(_WAIT_SECONDS)) from None
        # Also when whoever asked is gone: what the worker still says would be the answer to the next one.
        status, text = await asyncio.shield(self._in_background(self._exchange(worker, request, limit)))
        if status == RENDERED:
            return text
        if status == REFUSED:
            raise TemplateError(f"The model's chat template: {text}", refused=True)
        raise TemplateError(f"The model's chat template {text}")

    async def _exchange(self, worker: Worker, request: bytes, limit: int) -> tuple[bytes, str]:
        """Status and text of the worker's answer, or of what kept it from giving one."""
        try:
            async with asyncio.timeout(RENDER_SECONDS):
                await _send(worker, request)
                answer = await _receive(worker, limit)
        except TimeoutError:
            reason = f"did not end within {RENDER_SECONDS:g} s"
        except (OSError, EOFError):
            reason = "broke the process that renders it"
        else:
            self._idle.put_nowait(worker)
            return answer
        log.warning("template worker replaced", extra={"reason": reason})
        self._discard(worker)
        self._in_background(self._start_worker())
        return FAILED, reason

    async def _start_worker(self) -> None:
        while True:
            worker: Worker | None = None
            try:
                worker = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "model_service.template_worker"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.DEVNULL,
                    env={"PYTHONPATH": os.pathsep.join([str(_PACKAGE_ROOT), *sys.path])},
                    start_new_session=True,
                )
                self._all.add(worker)
                async with asyncio.timeout(_START_SECONDS):
                    await _receive(worker, 0)
            except (OSError, EOFError) as error:  # no memory or no process left; there may be later
                log.error("cannot start a template worker", extra={"reason": str(error)})
                if worker is not None:
                    self._discard(worker)
                await asyncio.sleep(_PAUSE_SECONDS)
            else:
                break
        self._idle.put_nowait(worker)

    def _discard(self, worker: Worker) -> None:
        _kill(worker)
        self._all.discard(worker)
        self._in_background(worker.wait())

    def _in_background(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def digest_of(source: str) -> str:
    """What a template is pinned by: the SHA-256 of its UTF-8."""
    return hashlib.sha256(source.encode()).hexdigest()


async def _send(worker: Worker, request: bytes) -> None:
    assert worker.stdin is not None
    worker.stdin.write(LENGTH.pack(len(request)) + request)
    await worker.stdin.drain()


async def _receive(worker: Worker, limit: int) -> tuple[bytes, str]:
    assert worker.stdout is not None
    status, length = ANSWER_HEAD.unpack(await worker.stdout.readexactly(ANSWER_HEAD.size))
    if length > limit:
        raise ConnectionError("a length that no worker sends")
    return status, (await worker.stdout.readexactly(length)).decode(errors="replace")


def _kill(worker: Worker) -> None:
    if worker.stdin is not None:
        worker.stdin.close()
    if worker.returncode is None:
        worker.kill()
