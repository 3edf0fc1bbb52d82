"""The models of this process, by the id that clients ask for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from model_service.chat import Chat
from model_service.engine import Engine, EngineError
from model_service.metrics import count_rejection
from model_service.pooled_engine import ServedEngine
from model_service.schemas import ModelCard
from service_kit.errors import ApiError


@dataclass(frozen=True, slots=True)
class Entry:
    """What an id stands for: a model, or a model with one of its adapters."""

    card: ModelCard
    engine: ServedEngine
    chat: Chat


class Models:
    """What is served; models are added while the service starts, and stay."""

    def __init__(self) -> None:
        self._entries: dict[str, Entry] = {}

    def add(self, entry: Entry) -> None:
        self._entries[entry.card.id] = entry

    @property
    def entries(self) -> Collection[Entry]:
        return self._entries.values()

    @property
    def cards(self) -> list[ModelCard]:
        return [_described(entry) for entry in self.entries]

    def card(self, model: str) -> ModelCard:
        """Raises as ``entry`` does."""
        return _described(self.entry(model))

    async def chat(self, model: str) -> Chat:
        """The model's chats, once it is known; raises as ``entry`` does, or the EngineError of one that can't load."""
        return (await self._known(model)).chat

    async def engine(self, model: str) -> Engine:
        """As ``chat``."""
        return (await self._known(model)).engine

    async def _known(self, model: str) -> Entry:
        entry = self.entry(model)
        try:
            await entry.engine.known()
        except EngineError as error:
            count_rejection(error, model)
            raise
        return entry

    def entry(self, model: str) -> Entry:
        """Raises the error that a client of OpenAI gets for a model it has no access to."""
        if model not in self._entries:
            there = ", ".join(map(repr, self._entries))
            message = f"The model {model[:100]!r} does not exist; this server has {there}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return self._entries[model]


def _described(entry: Entry) -> ModelCard:
    return entry.card.model_copy(update={"status": entry.engine.status})
