"""Texts, tokens and slots, as llama-server has them."""

from __future__ import annotations

from fastapi import APIRouter, Request

from model_service.engine import Engine, EngineError
from model_service.errors import to_api_error
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas.tokens import Detokenized, DetokenizeRequest, Piece, Slot, Tokenized, TokenizeRequest
from service_kit.errors import ApiError

router = APIRouter(tags=["tokens"])


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, request: Request, _tenant: Tenant) -> Tokenized:
    """The tokens of a text."""
    try:
        engine = await _engine(request, body.model)
        tokens = await engine.tokenize(body.content)
        bos = engine.facts.bos_text
        # As a prompt the text begins with the model's first token, if that wants one.
        if not body.add_special and tokens and bos and not body.content.startswith(bos):
            tokens = tokens[1:] if await engine.detokenize(tokens[:1]) == bos else tokens
        if body.with_pieces:
            return Tokenized(tokens=[Piece(id=token, piece=await engine.detokenize([token])) for token in tokens])
        return Tokenized(tokens=tokens)
    except EngineError as error:
        raise to_api_error(error, "content") from error


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, request: Request, _tenant: Tenant) -> Detokenized:
    """The text of tokens."""
    try:
        engine = await _engine(request, body.model)
        return Detokenized(content=await engine.detokenize(body.tokens))
    except EngineError as error:
        raise to_api_error(error, "tokens") from error


@router.get("/slots")
async def slots(request: Request, _tenant: Tenant, model: str | None = None) -> list[Slot]:
    """What each slot of each model, or of one, does at this moment."""
    models = models_of(request)
    entries = models.entries if model is None else [models.entry(model)]
    return [
        Slot(
            id=slot.id,
            model=entry.card.id,
            is_processing=slot.state != "idle",
            state=slot.state,
            prompt_tokens=slot.prompt_tokens,
            computed_tokens=slot.computed_tokens,
            generated_tokens=slot.generated_tokens,
        )
        for entry in entries
        if entry.card.parent is None or model is not None  # an adapter has no slots of its own
        for slot in entry.engine.slots()
    ]


async def _engine(request: Request, model: str | None) -> Engine:
    models = models_of(request)
    if model is None and sum(card.parent is None for card in models.cards) > 1:
        raise ApiError(400, "model is needed, as this server has several", param="model", code="invalid_value")
    return await models.engine(models.cards[0].id if model is None else model)
