"""The settings of model-service, from ``MODEL_*`` environment variables and secret files."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, FilePath, HttpUrl, SecretStr, model_validator

from model_service.cpu_quota import default_threads
from service_kit.settings import ServiceSettings, settings_config

KvType = Literal["f16", "q8_0"]
Context = Annotated[int, Field(ge=64, description="Tokens of one request, prompt and answer")]
Slots = Annotated[int, Field(ge=1, le=256, description="Requests computed side by side")]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _check_text(file: Path) -> Path:
    try:
        file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"can't be read as UTF-8: {error}") from error
    return file


TemplateFile = Annotated[FilePath, AfterValidator(_check_text)]


class AdapterEntry(BaseModel, frozen=True, extra="forbid"):
    """A LoRA adapter of a model; clients ask for it as ``<model>:<name>``."""

    name: str = Field(min_length=1)
    path: FilePath
    scale: float = Field(default=1.0, allow_inf_nan=False, description="How much of it is added")


class ModelEntry(BaseModel, frozen=True, extra="forbid"):
    """One of several models; None is what the settings say for all."""

    name: str = Field(min_length=1, description="The id clients ask for")
    path: FilePath
    use_int8: bool | None = None
    kv_type: KvType | None = None
    context: Context | None = None
    slots: Slots | None = None
    adapters: tuple[AdapterEntry, ...] = ()
    chat_template_file: TemplateFile | None = None
    chat_template_sha256: Sha256 | None = None

    @property
    def ids(self) -> tuple[str, ...]:
        """All that clients can ask for: the model, and it with each of its adapters."""
        return self.name, *(adapter_id(self.name, adapter.name) for adapter in self.adapters)


def adapter_id(model: str, adapter: str) -> str:
    return f"{model}:{adapter}"


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model as it is served; ``name`` is the id clients ask for, ``chat_template`` one that replaces its own."""

    name: str
    path: Path
    use_int8: bool
    kv_type: KvType
    context: int
    slots: int
    adapters: tuple[AdapterEntry, ...] = ()
    chat_template: str | None = None
    chat_template_sha256: str | None = None


class ModelSettings(ServiceSettings):
    """What a container of model-service can be told."""

    model_config = settings_config("MODEL_")

    port: int = Field(default=5000, ge=1, le=65535)
    path: FilePath | None = Field(default=None, description="The model's GGUF file, of a split one the first")
    models: tuple[ModelEntry, ...] = Field(default=(), description="Instead of MODEL_PATH several models, as JSON")
    use_int8: bool = Field(default=True, description="Refuse a file that is not Q8_0; USE_INT8 works too")
    name: str = Field(default="", description="The id clients ask for; empty: the file's name")
    chat_template_file: TemplateFile | None = Field(default=None, description="Replaces the model's own chat template")
    chat_template_sha256: Sha256 | None = Field(default=None, description="Refuse a model with another chat template")
    memory_budget_mib: int | None = Field(
        default=None, ge=1, description="For all models together, loaded as they are asked for; unset: all stay loaded"
    )
    load_timeout_seconds: float = Field(
        default=300.0, gt=0, le=3600, description="For a try to load a model, and for a request that waits for one"
    )
    kv_type: KvType = Field(default="f16", description="Type of the KV cache; q8_0 takes half the memory")
    context: Context = 4096
    slots: Slots = 8
    threads: int = Field(default_factory=default_threads, ge=1, le=512)
    kv_tokens: int | None = Field(
        default=None, ge=64, description="Tokens of all requests together; unset: MODEL_SLOTS times MODEL_CONTEXT"
    )
    prefix_store_mib: int = Field(default=256, ge=0, description="Memory for computed prefixes of ended requests")
    gpu_layers: int = Field(default=0, ge=-1, description="Layers of a model that a GPU computes; -1: all")
    step_tokens: int = Field(default=512, ge=1, le=8192, description="The most tokens computed in one step")
    queue_limit: int = Field(default=64, ge=0, description="Requests that may wait for a slot")
    queue_timeout_seconds: float = Field(default=30.0, gt=0, le=3600)
    keep_alive_seconds: float = Field(default=10.0, gt=0, description="Silence on a stream until a comment")
    cache_url: HttpUrl | None = Field(default=None, description="cache-service; without it nothing is cached")
    cache_ttl_seconds: int = Field(default=3600, ge=1)
    cache_timeout_seconds: float = Field(default=0.05, gt=0, description="A slower cache counts as absent")
    cache_wait_seconds: float = Field(
        default=120.0,
        ge=0,
        description="How long a request waits at most while its answer is computed for another, before it is computed",
    )
    api_keys: SecretStr = Field(default=SecretStr(""), description="By newline or comma; empty: open to all")

    @model_validator(mode="before")
    @classmethod
    def _use_int8_without_prefix(cls, values: dict[str, Any]) -> dict[str, Any]:
        if "USE_INT8" in os.environ:
            values.setdefault("use_int8", os.environ["USE_INT8"])
        return values

    @model_validator(mode="after")
    def _has_models_of_different_names(self) -> Self:
        if (self.path is None) == (not self.models):
            raise ValueError("give MODEL_PATH for one model, or MODEL_MODELS for several")
        names = [name for model in self.models for name in model.ids]
        if len(set(names)) < len(names):
            raise ValueError("two of MODEL_MODELS have the same name, their adapters included")
        return self

    @property
    def served_models(self) -> tuple[ServedModel, ...]:
        """All of them, at least one."""
        entries = self.models
        if self.path is not None:
            entries = (ModelEntry(name=self.name or self.path.stem, path=self.path),)
        return tuple(
            ServedModel(
                name=entry.name,
                path=entry.path,
                use_int8=self.use_int8 if entry.use_int8 is None else entry.use_int8,
                kv_type=entry.kv_type or self.kv_type,
                context=entry.context or self.context,
                slots=entry.slots or self.slots,
                adapters=entry.adapters,
                chat_template=_text_of(entry.chat_template_file or self.chat_template_file),
                chat_template_sha256=entry.chat_template_sha256 or self.chat_template_sha256,
            )
            for entry in entries
        )

    @property
    def api_key_list(self) -> tuple[str, ...]:
        keys = self.api_keys.get_secret_value().replace(",", "\n").split("\n")
        return tuple(key.strip() for key in keys if key.strip())


def _text_of(file: Path | None) -> str | None:
    return None if file is None else file.read_text(encoding="utf-8")
