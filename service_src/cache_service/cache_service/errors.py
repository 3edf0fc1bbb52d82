"""What can go wrong between this service and Redis, as a client sees it."""

from __future__ import annotations

from service_kit.errors import ApiError


class StoreUnavailable(ApiError):
    """Redis is away, refuses us or does not answer in time: the caller goes on without a cache."""

    def __init__(self, message: str) -> None:
        super().__init__(503, message, code="cache_unavailable", headers={"Retry-After": "1"})


class StoreFull(ApiError):
    """Redis is at its memory limit and its policy lets it evict nothing."""

    def __init__(self, message: str) -> None:
        super().__init__(507, message, code="cache_full")
