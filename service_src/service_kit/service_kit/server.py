"""Runs a service's application until SIGTERM, then drains it.

On SIGTERM (or SIGINT) readiness fails at once, while requests are still accepted for the grace
period, so that the gateway notices before anything is refused. Then the listening socket closes,
requests in flight finish, streams included, and the process exits with status 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Generator

import uvicorn
from fastapi import FastAPI

from service_kit import logs, metrics
from service_kit.settings import ServiceSettings

log = logging.getLogger(__name__)


class DrainingServer(uvicorn.Server):
    """uvicorn's server with a grace period between the signal and the closing of its socket."""

    def __init__(self, config: uvicorn.Config, app: FastAPI, grace_seconds: float) -> None:
        super().__init__(config)
        self._fastapi = app
        self._grace_seconds = grace_seconds

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        # uvicorn's own would raise the signal again after the shutdown: the exit status were not 0.
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(signum, self._begin_drain, loop)
        yield

    def _begin_drain(self, loop: asyncio.AbstractEventLoop) -> None:
        health = self._fastapi.state.health
        if health.draining:
            return
        health.draining = True
        metrics.DRAINING.set(1)
        log.info("draining", extra={"grace_seconds": self._grace_seconds})
        loop.call_later(self._grace_seconds, self._close)

    def _close(self) -> None:
        self.should_exit = True


def run(app: FastAPI, settings: ServiceSettings, service: str) -> None:
    """Serves until the process is told to end; returns when it has drained."""
    logs.configure(service, settings.log_level)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.drain_timeout_seconds,
        # Longer than the gateway keeps an idle connection, so that it never meets a closed one.
        timeout_keep_alive=100,
        forwarded_allow_ips="*",
    )
    DrainingServer(config, app, settings.drain_grace_seconds).run()
    log.info("stopped")
