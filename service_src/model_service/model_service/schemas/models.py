"""The models that can be asked for."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel


class ModelCard(BaseModel):
    """``parent`` is the model that an adapter belongs to, which ``id`` names too."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str = "llm.orchestrator"
    parent: str | None = None
    status: Literal["unloaded", "loading", "loaded", "unloading", "failed"] = "unloaded"


class ModelList(BaseModel):
    object: Literal["list"] = "list"
    data: list[ModelCard]
