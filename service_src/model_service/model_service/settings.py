"""The settings of model-service, from ``MODEL_*`` environment variables and secret files."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field, FilePath, HttpUrl, SecretStr, model_validator

from model_service.cpu_quota import default_threads
from service_kit.settings import ServiceSettings, settings_config


class ModelSettings(ServiceSettings):
    """What a container of model-service can be told."""

    model_config = settings_config("MODEL_")

    port: int = Field(default=5000, ge=1, le=65535)
    path: FilePath = Field(description="The model's GGUF file")
    use_int8: bool = Field(default=True, description="Refuse a file that is not Q8_0; USE_INT8 works too")
    name: str = Field(default="", description="The id clients ask for; empty: the file's name")
    context: int = Field(default=4096, ge=64, description="Tokens of one request, prompt and answer")
    slots: int = Field(default=8, ge=1, le=256, description="Requests computed side by side")
    threads: int = Field(default_factory=default_threads, ge=1, le=512)
    step_tokens: int = Field(default=256, ge=1, le=8192, description="The most tokens computed in one step")
    queue_limit: int = Field(default=64, ge=0, description="Requests that may wait for a slot")
    queue_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    keep_alive_seconds: float = Field(default=10.0, gt=0, description="Silence on a stream until a comment")
    cache_url: HttpUrl | None = Field(default=None, description="cache-service; without it nothing is cached")
    cache_ttl_seconds: int = Field(default=3600, ge=1)
    cache_timeout_seconds: float = Field(default=0.05, gt=0, description="A slower cache counts as absent")
    api_keys: SecretStr = Field(default=SecretStr(""), description="By newline or comma; empty: open to all")

    @model_validator(mode="before")
    @classmethod
    def _use_int8_without_prefix(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "USE_INT8" in os.environ:
            values.setdefault("use_int8", os.environ["USE_INT8"])
        return values

    @property
    def model_name(self) -> str:
        return self.name or self.path.stem

    @property
    def api_key_list(self) -> tuple[str, ...]:
        keys = self.api_keys.get_secret_value().replace(",", "\n").split("\n")
        return tuple(key.strip() for key in keys if key.strip())
