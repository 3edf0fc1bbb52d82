"""Responses, the newer API of conversations."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from model_service import responses, responses_form
from model_service.chat_template import TemplateError
from model_service.engine import EngineError
from model_service.errors import to_api_error
from model_service.routes.answering import answer, refuse_unsupported
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas import response_answers
from model_service.schemas.responses import ResponseRequest

router = APIRouter(prefix="/v1", tags=["responses"])


@router.post(
    "/responses",
    response_model=response_answers.Response,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def create_response(body: ResponseRequest, request: Request, tenant: Tenant) -> Response:
    """The model's answer to a conversation, whole or as a stream of server-sent events. Nothing is stored."""
    refuse_unsupported(body.unknown_fields)
    try:
        chat = await models_of(request).chat(body.model)
        asked = responses.chat_request_of(body)
        plan = await chat.plan(asked, tenant, "resp_", responses.FIELDS)
    except (EngineError, TemplateError) as error:
        raise to_api_error(error, responses.FIELDS.prompt) from error
    options = responses.options_of(body, asked, plan)
    return await answer(
        request,
        chat.generator,
        plan,
        whole=partial(responses_form.response_body, options=options),
        stream=partial(responses_form.ResponseStream, options=options) if body.stream else None,
    )
