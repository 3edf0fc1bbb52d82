"""What the domain's errors look like to a client."""

from __future__ import annotations

from model_service.chat_template import TemplateError
from model_service.engine import (
    EngineError,
    GenerationFailedError,
    InvalidRequestError,
    NotReadyError,
    OverloadedError,
    PromptTooLongError,
)
from model_service.pool import ModelFailedError, NoRoomError
from service_kit.errors import ApiError

DomainError = EngineError | TemplateError


def to_api_error(error: DomainError, prompt_field: str = "messages", grammar_field: str = "grammar") -> ApiError:
    """The fields are those of the request that its prompt and its grammar were made of."""
    message = str(error)
    match error:
        case PromptTooLongError():
            return ApiError(400, message, param=prompt_field, code="context_length_exceeded")
        case InvalidRequestError():
            param = {"grammar": grammar_field, "prompt": prompt_field}.get(error.param, error.param)
            return ApiError(400, message, param=param, code="invalid_value")
        case OverloadedError():
            return ApiError(429, message, code=error.reason, headers={"Retry-After": str(error.retry_after)})
        case NotReadyError():
            return ApiError(503, message, code="not_ready", headers={"Retry-After": "1"})
        case NoRoomError():
            return ApiError(503, message, code="model_not_loaded", headers={"Retry-After": str(error.retry_after)})
        case ModelFailedError():
            return ApiError(503, message, code="model_failed", headers={"Retry-After": "60"})
        case GenerationFailedError():
            return ApiError(500, message, code="generation_failed")
        case TemplateError() if error.refused:
            return ApiError(400, message, param=prompt_field, code="chat_template_refused")
        case TemplateError():
            return ApiError(500, message, code="chat_template_failed")
        case _:
            return ApiError(500, message, code="generation_failed")
