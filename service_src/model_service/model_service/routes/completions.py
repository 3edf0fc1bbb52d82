"""Text completions, the older API."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Request, Response

from model_service.completion_form import CompletionStream, text_completion
from model_service.completions import completion_plan, echoed_texts
from model_service.engine import EngineError
from model_service.errors import to_api_error
from model_service.routes.answering import answer, refuse_unsupported
from model_service.routes.auth import Tenant
from model_service.routes.models import models_of
from model_service.schemas.completions import Completion, CompletionRequest

router = APIRouter(prefix="/v1", tags=["completions"])


@router.post("/completions", response_model=Completion, responses={200: {"content": {"text/event-stream": {}}}})
async def create_completion(body: CompletionRequest, request: Request, tenant: Tenant) -> Response:
    """How the model goes on with each of the prompts, whole or as a stream of server-sent events."""
    refuse_unsupported(body.unknown_fields)
    try:
        generator = (await models_of(request).chat(body.model)).generator
        plan = await completion_plan(generator, body, tenant)
        echoed = await echoed_texts(generator, body)
    except EngineError as error:
        raise to_api_error(error, "prompt") from error
    has_logprobs = body.logprobs is not None
    stream = partial(
        CompletionStream, n=plan.n, echoed=echoed, has_logprobs=has_logprobs, include_usage=body.include_usage
    )
    return await answer(
        request,
        generator,
        plan,
        whole=partial(text_completion, echoed=echoed, has_logprobs=has_logprobs),
        stream=stream if body.stream else None,
    )
