"""``python -m model_service``: serves its models until it is told to stop."""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import asdict

from model_service import SERVICE, metrics
from model_service.app import build_app
from model_service.llama.backends import BackendError, load_backends
from model_service.llama.native_log import NativeLog
from model_service.preflight import ModelFileError, check_files
from model_service.settings import ModelSettings
from service_kit import logs, server
from service_kit.settings import fail, load

log = logging.getLogger(__name__)


def main() -> None:
    settings = load(ModelSettings, SERVICE)
    logs.configure(SERVICE, settings.log_level)
    native_log = NativeLog()  # before anything of llama.cpp's, which would write to stderr as it likes
    _use_backends(settings)
    models = settings.served_models
    if len(models) == 1:  # of several, those that can be served are
        try:
            check_files(models[0])
        except ModelFileError as error:
            fail(SERVICE, str(error))
    server.run(build_app(settings, native_log, _exit_at_once), settings, SERVICE)


def _use_backends(settings: ModelSettings) -> None:
    try:
        backends = load_backends()
    except BackendError as error:
        fail(SERVICE, str(error))
    if settings.gpu_layers and not backends.gpus:
        fail(
            SERVICE,
            f"MODEL_GPU_LAYERS is {settings.gpu_layers} and there is no GPU: the image needs a backend for it, and the "
            "container the device. Or set it to 0",
        )
    metrics.BACKEND.info({"cpu_variant": backends.cpu_variant, "cpu": backends.cpu, "gpus": ", ".join(backends.gpus)})
    log.info("backends loaded", extra=asdict(backends))


def _exit_at_once(message: str) -> None:
    # From the engine's thread, which native code may have left in any state: only the process can end.
    print(f"{SERVICE}: {message}", file=sys.stderr, flush=True)
    os._exit(1)


if __name__ == "__main__":
    main()
