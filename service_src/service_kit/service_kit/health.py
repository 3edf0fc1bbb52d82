"""Liveness and readiness.

Live means that the process answers. Ready means that it should get requests: it has started,
its checks pass, and it is not draining.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

Check = Callable[[], Awaitable[str | None]]  # what it returns is a remark on its being "ok"
CHECK_TIMEOUT_SECONDS = 1.5  # less than what the container's health check waits


class Readiness(BaseModel):
    """Why a service is or isn't ready; ``checks`` maps a name to "ok", perhaps with a remark, or to what is wrong."""

    ready: bool
    draining: bool
    checks: dict[str, str]


class Health:
    """The health state of one process."""

    def __init__(self, checks: Mapping[str, Check] | None = None) -> None:
        self._checks = dict(checks or {})
        self.draining = False

    async def readiness(self) -> Readiness:
        """Runs all checks side by side, each bounded by CHECK_TIMEOUT_SECONDS."""
        results = await asyncio.gather(*(self._run(check) for check in self._checks.values()))
        checks = {name: text for name, (_, text) in zip(self._checks, results, strict=True)}
        passed = all(good for good, _ in results)
        return Readiness(ready=passed and not self.draining, draining=self.draining, checks=checks)

    @staticmethod
    async def _run(check: Check) -> tuple[bool, str]:
        try:
            async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
                remark = await check()
        except TimeoutError:
            return False, f"no answer within {CHECK_TIMEOUT_SECONDS:g} s"
        except Exception as error:  # any failure of a check means "not ready", never a crash
            return False, str(error) or type(error).__name__
        return True, f"ok; {remark}" if remark else "ok"


router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@router.get("/ready", responses={503: {"model": Readiness}})
async def ready(request: Request, response: Response) -> Readiness:
    """200 when the service should get requests, else 503 with the reason."""
    health: Health = request.app.state.health
    readiness = await health.readiness()
    if not readiness.ready:
        response.status_code = 503
    return readiness
