"""The models of this process, by the id that clients ask for."""

from __future__ import annotations

from collections.abc import Collection

from model_service.chat import Chat
from model_service.schemas import ModelCard
from service_kit.errors import ApiError


class Models:
    """What is served; models are added while the service starts, and stay."""

    def __init__(self) -> None:
        self._cards: dict[str, ModelCard] = {}
        self._chats: dict[str, Chat] = {}

    def add(self, card: ModelCard, chat: Chat) -> None:
        self._cards[card.id] = card
        self._chats[card.id] = chat

    @property
    def cards(self) -> list[ModelCard]:
        return list(self._cards.values())

    @property
    def chats(self) -> Collection[Chat]:
        return self._chats.values()

    def card(self, model: str) -> ModelCard:
        """Raises the error that a client of OpenAI gets for a model it has no access to."""
        if model not in self._cards:
            there = ", ".join(map(repr, self._cards))
            message = f"The model {model[:100]!r} does not exist; this server has {there}"
            raise ApiError(404, message, param="model", code="model_not_found")
        return self._cards[model]

    def chat(self, model: str) -> Chat:
        """Raises as ``card`` does."""
        return self._chats[self.card(model).id]
