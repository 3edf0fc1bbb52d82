"""A text completion's plan: a prompt as it is, as text or tokens."""

from __future__ import annotations

from model_service.engine import GenerationRequest, InvalidRequestError
from model_service.generation import Generator, priority_of, sampling_of
from model_service.reply import Plan
from model_service.schemas.completions import CompletionRequest
from model_service.structured import constraint_of_text


async def completion_plan(generator: Generator, request: CompletionRequest, tenant: str) -> Plan:
    """Raises InvalidRequestError for what can't be done."""
    constraint = constraint_of_text(request)
    beginning = generator.engine.facts.bos_text
    if not beginning and any(prompt.tokens is None and not prompt.text for prompt in request.prompt):
        raise InvalidRequestError("prompt", "prompt is empty, and this model has no token that begins a text")
    requests = [
        GenerationRequest(
            prompt=(prompt.text or beginning) if prompt.tokens is None else tuple(prompt.tokens),
            sampling=sampling_of(request, constraint.grammar),
            max_tokens=request.max_tokens,
            stop=tuple(request.stop),
            top_logprobs=request.logprobs,
            tenant=tenant,
            priority=priority_of(request),
        )
        for prompt in request.prompt
    ]
    return await generator.plan("cmpl-", requests, request.choices, prompt_field="prompt")


async def echoed_texts(generator: Generator, request: CompletionRequest) -> list[str]:
    """For each prompt what its answer begins with: nothing, or with ``echo`` the prompt."""
    if not request.echo:
        return ["" for _ in request.prompt]
    return [
        prompt.text if prompt.tokens is None else await generator.text_of(prompt.tokens, "prompt")
        for prompt in request.prompt
    ]
