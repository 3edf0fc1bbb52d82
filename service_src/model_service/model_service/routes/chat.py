"""Chat completions."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from model_service.chat import options_of
from model_service.chat_form import ChatStream, chat_completion
from model_service.chat_template import TemplateError
from model_service.engine import EngineError
from model_service.errors import to_api_error
from model_service.routes.answering import answer, refuse_unsupported
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas.chat import ChatRequest
from model_service.schemas.chat_answers import ChatCompletion

router = APIRouter(prefix="/v1", tags=["chat"])


@router.post(
    "/chat/completions",
    response_model=ChatCompletion,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def create_chat_completion(body: ChatRequest, request: Request, tenant: Tenant) -> Response:
    """The model's answer to a conversation, whole or as a stream of server-sent events."""
    refuse_unsupported(body.unknown_fields)
    try:
        chat = await models_of(request).chat(body.model)
        plan = await chat.plan(body, tenant)
    except (EngineError, TemplateError) as error:
        raise to_api_error(error) from error
    options = options_of(body)
    return await answer(
        request,
        chat.generator,
        plan,
        whole=partial(chat_completion, options=options),
        stream=partial(ChatStream, n=plan.n, choices=len(plan.requests), options=options) if body.stream else None,
    )
