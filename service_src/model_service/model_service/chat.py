"""A chat completion's plan: from messages, tools and formats to a prompt and a grammar."""

from __future__ import annotations

from typing import Any

from model_service.chat_form import ChatOptions
from model_service.chat_template import ChatTemplate, TemplateError, TemplateRenderer
from model_service.engine import Engine, GenerationRequest
from model_service.generation import Generator, priority_of, sampling_of
from model_service.reply import Plan
from model_service.response_cache import ResponseCache
from model_service.schemas.chat import ChatRequest
from model_service.structured import CHAT_FIELDS, FieldNames, callable_tools, constraint_of_chat
from model_service.tool_calls import native_messages, plain_messages, speaks_tool_calls


class Chat:
    """The chat completions of one model."""

    def __init__(
        self, engine: Engine, cache: ResponseCache | None, model_name: str, renderer: TemplateRenderer
    ) -> None:
        self.generator = Generator(engine, cache, model_name)
        self._engine = engine
        self._renderer = renderer
        self._template: ChatTemplate | None = None
        self._is_checked = False

    @property
    def template(self) -> ChatTemplate:
        """Raises NotReadyError until the model is loaded, TemplateError if it has no usable template."""
        if self._template is None:
            facts = self._engine.facts
            if facts.chat_template is None:
                raise TemplateError("This model has no chat template; ask it by /v1/completions", refused=True)
            self._template = ChatTemplate(self._renderer, facts.chat_template, facts.bos_text, facts.eos_text)
        return self._template

    async def check_template(self) -> None:
        """Raises TemplateError where the model has a template that can't render the plainest message."""
        if self._engine.facts.chat_template is None or self._is_checked:
            return
        try:
            await self.template.render([{"role": "user", "content": "Hello"}])
        except TemplateError as error:
            if not error.refused:
                raise
        self._is_checked = True

    async def plan(
        self, request: ChatRequest, tenant: str, kind: str = "chatcmpl-", names: FieldNames = CHAT_FIELDS
    ) -> Plan:
        """Raises InvalidRequestError for what can't be done, TemplateError for messages that the template refuses."""
        constraint = constraint_of_chat(request, names)
        template = self.template
        generation = GenerationRequest(
            prompt=await self._prompt(template, request),
            sampling=sampling_of(request, constraint.grammar, constraint.trigger),
            max_tokens=request.max_completion_tokens or request.max_tokens,
            stop=tuple(request.stop),
            top_logprobs=(request.top_logprobs or 0) if request.logprobs else None,
            tenant=tenant,
            priority=priority_of(request),
        )
        return await self.generator.plan(
            kind,
            [generation],
            request.choices,
            prompt_field=names.prompt,
            grammar_field=constraint.field,
            made_of=template.digest,
        )

    async def _prompt(self, template: ChatTemplate, request: ChatRequest) -> str:
        source = self._engine.facts.chat_template or ""
        tools = callable_tools(request)
        given: list[dict[str, Any]] | None = None
        if speaks_tool_calls(source):
            messages = native_messages(request.messages)
            given = [tool.model_dump(exclude_none=True, exclude={"function": {"strict"}}) for tool in tools] or None
        else:
            messages = plain_messages(request.messages, tools)
        if "developer" not in source:
            for message in messages:
                # The newer name of the same role; a template would print a word that the model doesn't know.
                message["role"] = "system" if message["role"] == "developer" else message["role"]
        return await template.render(messages, given)


def options_of(request: ChatRequest) -> ChatOptions:
    """What the request says of its answer's form."""
    return ChatOptions(
        has_tools=bool(callable_tools(request)),
        has_logprobs=bool(request.logprobs),
        include_usage=request.include_usage,
    )
