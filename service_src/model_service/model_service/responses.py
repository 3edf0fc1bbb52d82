"""A response's request as the chat request that it is, and what its answer says of it."""

from __future__ import annotations

from model_service.engine import InvalidRequestError
from model_service.generation import priority_of
from model_service.reply import Plan
from model_service.responses_form import ResponseOptions
from model_service.schemas.chat import (
    CalledFunction,
    ChatRequest,
    FunctionDefinition,
    JsonSchemaFormat,
    Message,
    ResponseFormat,
    Tool,
    ToolCall,
)
from model_service.schemas.common import GenerationFields
from model_service.schemas.response_answers import ResponseSettings
from model_service.schemas.responses import FunctionCall, InputMessage, ResponseRequest, TextFormat
from model_service.structured import FieldNames, callable_tools

FIELDS = FieldNames("input", "text.format", "tools.{}.parameters")


def chat_request_of(request: ResponseRequest) -> ChatRequest:
    """The same conversation. Raises InvalidRequestError for what has no place in an answer."""
    text_format = request.text.format if request.text is not None else None
    # All of it was checked where it came in, so it is put together as it is.
    chat = ChatRequest.model_construct(
        **{name: getattr(request, name) for name in GenerationFields.model_fields},
        messages=_messages(request),
        max_completion_tokens=request.max_output_tokens,
        logprobs=request.has_logprobs,
        top_logprobs=request.top_logprobs,
        response_format=_response_format(text_format) if text_format is not None else None,
        tools=[
            Tool(type="function", function=FunctionDefinition(**tool.model_dump(exclude={"type"})))
            for tool in request.tools or ()
        ],
        tool_choice=request.tool_choice,
        parallel_tool_calls=request.parallel_tool_calls,
    )
    if request.has_logprobs and callable_tools(chat):
        raise InvalidRequestError("include", "include: logprobs are not supported where tools can be called")
    return chat


def _messages(request: ResponseRequest) -> list[Message]:
    messages = [] if request.instructions is None else [Message(role="system", content=request.instructions)]
    for item in request.input:
        if isinstance(item, InputMessage):
            messages.append(Message(role=item.role, content=item.content))
        elif isinstance(item, FunctionCall):
            call = ToolCall(id=item.call_id, function=CalledFunction(name=item.name, arguments=item.arguments))
            # An answer's text and its calls are items in a row here, and one message to the model.
            last = messages[-1] if messages and messages[-1].role == "assistant" else None
            if last is None:
                messages.append(Message(role="assistant", tool_calls=[call]))
            else:
                last.tool_calls = [*(last.tool_calls or ()), call]
        else:
            messages.append(Message(role="tool", tool_call_id=item.call_id, content=item.output))
    return messages


def _response_format(text_format: TextFormat) -> ResponseFormat:
    if text_format.type != "json_schema":
        return ResponseFormat(type=text_format.type)
    described = text_format.model_dump(include={"name", "description", "strict"})
    return ResponseFormat(type="json_schema", json_schema=JsonSchemaFormat(schema=text_format.schema_, **described))


def options_of(request: ResponseRequest, chat: ChatRequest, plan: Plan) -> ResponseOptions:
    """What the request says of its answer's form."""
    sampling = plan.requests[0].sampling
    text_format = request.text.format if request.text is not None else None
    choice = request.tool_choice
    if choice is None:
        described: str | dict[str, str] = "auto"
    else:
        described = choice.type if choice.function is None else {"type": "function", "name": choice.function.name}
    settings = ResponseSettings(
        instructions=request.instructions,
        max_output_tokens=request.max_output_tokens,
        metadata=request.metadata or {},
        parallel_tool_calls=request.parallel_tool_calls is not False,
        service_tier="flex" if priority_of(request) == "batch" else "default",
        temperature=sampling.temperature,
        text={
            "format": {"type": "text"}
            if text_format is None
            else text_format.model_dump(by_alias=True, exclude_none=True),
            "verbosity": "medium",
        },
        tool_choice=described,
        tools=[tool.model_dump() for tool in request.tools or ()],
        top_logprobs=request.top_logprobs or 0,
        top_p=sampling.top_p,
    )
    return ResponseOptions(bool(callable_tools(chat)), request.has_logprobs, settings.model_dump())
