"""A model's files as a source of engines: checked, tried in a child process, then loaded."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from model_service.engine import NotReadyError
from model_service.llama.context import ContextSize
from model_service.llama.embedder import BATCH_TOKENS
from model_service.llama.llama_engine import EngineConfig, LlamaEngine
from model_service.llama.model import Adapter
from model_service.llama.native_log import NativeLog
from model_service.llama.scheduler import Limits
from model_service.pool import LoadError
from model_service.preflight import ModelFileError, check_files, compute_bytes, kv_bytes, probe, state_of_files
from model_service.settings import ModelSettings, ServedModel

_POLL_SECONDS = 0.02


class LlamaSource:
    """A :class:`model_service.pool.Source`. ``check`` has to have passed before it is used.

    ``on_fatal`` is called with one line, from another thread, when an engine that was loaded can't go on.
    """

    def __init__(
        self, settings: ModelSettings, model: ServedModel, native_log: NativeLog, on_fatal: Callable[[str], None]
    ) -> None:
        self.name = model.name
        self.estimated_bytes = 0
        self._settings = settings
        self._model = model
        self._native_log = native_log
        self._on_fatal = on_fatal
        self._beside_bytes = 0
        self._measured_bytes = 0
        self._tried: object = None

    def check(self) -> None:
        """Checks the files' headers and estimates the memory from them; raises ModelFileError."""
        header = check_files(self._model)
        size = self._size()
        context = min(size.context, header.of_architecture("context_length") or size.context)  # as the engine caps it
        size = replace(size, context=context, kv_tokens=min(size.kv_tokens, size.slots * context))
        # Beside the context for answers there may be one for embeddings, which has logits of each token.
        embedding = replace(size, slots=BATCH_TOKENS, step_tokens=BATCH_TOKENS, kv_tokens=size.context + BATCH_TOKENS)
        self._beside_bytes = (
            kv_bytes(header, embedding) + compute_bytes(header, size) + compute_bytes(header, embedding)
        )
        self._beside_bytes += self._settings.prefix_store_mib << 20
        if size.kv_tokens >= size.slots * context:  # then states are copied by way of one slot's more
            self._beside_bytes += kv_bytes(header, replace(size, kv_tokens=context))
        self.estimated_bytes = (
            sum(file.st_size for file in state_of_files(self._model)) + kv_bytes(header, size) + self._beside_bytes
        )

    async def measure(self) -> int:
        """Has the files tried in a child process, unless they are the ones that were tried last."""
        try:
            await asyncio.to_thread(self.check)
            files = [(file.st_dev, file.st_ino, file.st_size, file.st_mtime_ns) for file in state_of_files(self._model)]
            if files != self._tried:
                timeout, layers = self._settings.load_timeout_seconds, self._settings.gpu_layers
                report = await probe(self._model, self._size(), self.estimated_bytes, timeout, gpu_layers=layers)
                # The child computed a single token, so it took little of what is beside the model.
                self._measured_bytes = max(self.estimated_bytes, report.memory_bytes + self._beside_bytes)
                self._tried = files
        except ModelFileError as error:
            raise LoadError(str(error)) from error
        return self._measured_bytes

    async def load(self) -> LlamaEngine:
        failures: list[str] = []
        is_ready = False

        def on_fatal(message: str) -> None:
            failures.append(message)
            if is_ready:
                self._on_fatal(message)

        engine = LlamaEngine(self._config(), self._native_log, on_fatal)
        try:
            while not is_ready:
                await asyncio.sleep(_POLL_SECONDS)
                is_ready = _has_facts(engine)
                if failures:
                    raise LoadError(failures[0])
        except BaseException:
            await engine.close()
            raise
        return engine

    def _size(self) -> ContextSize:
        settings, model = self._settings, self._model
        return ContextSize(
            slots=model.slots,
            context=model.context,
            kv_tokens=settings.kv_tokens or model.slots * model.context,
            step_tokens=max(settings.step_tokens, model.slots),  # each slot needs one a step
            threads=settings.threads,
            kv_type=model.kv_type,
        )

    def _config(self) -> EngineConfig:
        settings = self._settings
        limits = Limits(settings.queue_timeout_seconds, settings.prefix_store_mib << 20)
        adapters = tuple(Adapter(each.name, each.path, each.scale) for each in self._model.adapters)
        return EngineConfig(self._model.path, self._size(), settings.queue_limit, limits, adapters, settings.gpu_layers)


def _has_facts(engine: LlamaEngine) -> bool:
    try:
        return bool(engine.facts)
    except NotReadyError:
        return False
