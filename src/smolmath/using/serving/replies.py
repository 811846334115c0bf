"""Completions as OpenAI's objects and events, whole and streamed; the client's own types say what these hold."""

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from openai.types import Completion as TextCompletion
from openai.types import CompletionChoice, CompletionUsage
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as ChunkChoice
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from openai.types.responses import Response, ResponseOutputMessage, ResponseOutputText, ResponseUsage
from openai.types.responses.response import IncompleteDetails
from openai.types.responses.response_usage import InputTokensDetails, OutputTokensDetails
from pydantic import BaseModel
from transformers.cli.serving.utils import get_response_template

from smolmath.engines import Completion
from smolmath.using.serving.requests import ChatRequest
from smolmath.using.serving.writing import Prompt, Writer

DONE = "data: [DONE]\n\n"


class Reply(ABC):
    """The answer to one request. `whole` is its JSON, `events` its stream."""

    prefix = ""  # of its id

    def __init__(self, writer: Writer, asked: Any, prompt: Prompt, model: str) -> None:
        self.writer, self.asked, self.prompt, self.model = writer, asked, prompt, model
        self.id, self.created = f"{self.prefix}{uuid.uuid4().hex}", int(time.time())

    async def whole(self) -> dict[str, Any]:
        async with aclosing(self.writer.write(self.asked, self.prompt)) as pieces:
            async for piece in pieces:
                if isinstance(piece, Completion):
                    return self.as_object(piece).model_dump(mode="json", exclude_unset=True)
        raise AssertionError("a completion ends with itself")

    @abstractmethod
    def events(self) -> AsyncGenerator[str, None]:
        """The stream, event by event."""

    @abstractmethod
    def as_object(self, completion: Completion) -> BaseModel:
        """The whole answer."""

    def usage(self, completion: Completion) -> CompletionUsage:
        written, read = completion.tokens, self.prompt.tokens
        return CompletionUsage(prompt_tokens=read, completion_tokens=written, total_tokens=read + written)


class _Chunks(Reply):
    """A reply whose stream is chunks of itself, then [DONE]."""

    @abstractmethod
    def chunk(self, text: str | None, finish_reason: str | None = None, **more: Any) -> BaseModel:
        """One event: a piece of the text, or why it ended."""

    @abstractmethod
    def usage_chunk(self, usage: CompletionUsage) -> BaseModel:
        """The event that counts tokens."""

    def first(self) -> list[BaseModel]:
        return []

    def last(self, completion: Completion) -> list[BaseModel]:
        return [self.chunk(None, completion.finish_reason)]

    async def events(self) -> AsyncGenerator[str, None]:
        for one in self.first():
            yield sse(one)
        async with aclosing(self.writer.write(self.asked, self.prompt)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    if piece and self.streams_text:
                        yield sse(self.chunk(piece))
                    continue
                for one in self.last(piece):
                    yield sse(one)
                if self.asked.stream_options.include_usage:
                    yield sse(self.usage_chunk(self.usage(piece)))
        yield DONE

    @property
    def streams_text(self) -> bool:
        return True


class ChatReply(_Chunks):
    prefix = "chatcmpl-"

    @property
    def streams_text(self) -> bool:
        return not self.asked.tools  # a call is told from text at its end

    def message(self, completion: Completion) -> tuple[dict[str, Any], str]:
        """The message, and why it ended."""
        calls, text = tool_calls(self.writer, self.asked, self.prompt, completion.text)
        message: dict[str, Any] = {"role": "assistant", "content": text if text or not calls else None}
        if not calls:
            return message, completion.finish_reason
        return message | {"tool_calls": calls}, "tool_calls"

    def as_object(self, completion: Completion) -> BaseModel:
        message, reason = self.message(completion)
        choice = Choice.model_construct(
            index=0,
            message=ChatCompletionMessage.model_validate(message),
            finish_reason=reason,
            logprobs=None,
        )
        return ChatCompletion.model_construct(
            id=self.id,
            object="chat.completion",
            created=self.created,
            model=self.model,
            choices=[choice],
            usage=self.usage(completion),
        )

    def first(self) -> list[BaseModel]:
        return [self._chunk({"role": "assistant", "content": ""})]

    def chunk(self, text: str | None, finish_reason: str | None = None, **more: Any) -> BaseModel:
        return self._chunk({} if text is None else {"content": text}, finish_reason)

    def last(self, completion: Completion) -> list[BaseModel]:
        if self.streams_text:
            return super().last(completion)
        message, reason = self.message(completion)
        delta = {name: value for name, value in message.items() if name != "role" and value is not None}
        if "tool_calls" in delta:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(delta["tool_calls"])]
        return [self._chunk(delta), self._chunk({}, reason)]

    def usage_chunk(self, usage: CompletionUsage) -> BaseModel:
        return self._chunk(None, usage=usage)

    def _chunk(self, delta: dict[str, Any] | None, finish_reason: str | None = None, **more: Any) -> BaseModel:
        choices = []
        if delta is not None:
            made = ChoiceDelta.model_validate(delta)
            choices = [ChunkChoice.model_construct(index=0, delta=made, finish_reason=finish_reason, logprobs=None)]
        return ChatCompletionChunk.model_construct(
            id=self.id,
            object="chat.completion.chunk",
            created=self.created,
            model=self.model,
            choices=choices,
            **more,
        )


class TextReply(_Chunks):
    prefix = "cmpl-"

    def as_object(self, completion: Completion) -> BaseModel:
        return self.chunk(completion.text, completion.finish_reason, usage=self.usage(completion))

    def chunk(self, text: str | None, finish_reason: str | None = None, **more: Any) -> BaseModel:
        choice = CompletionChoice.model_construct(index=0, text=text or "", finish_reason=finish_reason, logprobs=None)
        return self._made([choice], **more)

    def usage_chunk(self, usage: CompletionUsage) -> BaseModel:
        return self._made([], usage=usage)

    def _made(self, choices: list[CompletionChoice], **more: Any) -> BaseModel:
        return TextCompletion.model_construct(
            id=self.id, object="text_completion", created=self.created, model=self.model, choices=choices, **more
        )


class ResponseReply(Reply):
    """OpenAI's newer API: one message, in events that say what begins and ends."""

    prefix = "resp_"

    async def events(self) -> AsyncGenerator[str, None]:
        number, text = 0, ""
        where = {"item_id": f"msg_{self.id}", "output_index": 0, "content_index": 0}

        def event(kind: str, **fields: Any) -> str:
            nonlocal number
            number += 1
            return f"event: {kind}\ndata: {_json({'type': kind, 'sequence_number': number - 1, **fields})}\n\n"

        yield event("response.created", response=_plain(self._response("in_progress", [])))
        yield event("response.in_progress", response=_plain(self._response("in_progress", [])))
        item = _plain(self._message("", "in_progress")) | {"content": []}
        yield event("response.output_item.added", output_index=0, item=item)
        yield event("response.content_part.added", part=_plain(_part("")), **where)
        async with aclosing(self.writer.write(self.asked, self.prompt)) as pieces:
            async for piece in pieces:
                if isinstance(piece, str):
                    text += piece
                    if piece:
                        yield event("response.output_text.delta", delta=piece, logprobs=[], **where)
                    continue
                yield event("response.output_text.done", text=text, logprobs=[], **where)
                yield event("response.content_part.done", part=_plain(_part(text)), **where)
                whole = self.as_object(piece)
                yield event("response.output_item.done", output_index=0, item=_plain(whole)["output"][0])
                yield event(f"response.{whole.status}", response=_plain(whole))

    def as_object(self, completion: Completion) -> Response:
        status = "completed" if completion.finish_reason == "stop" else "incomplete"
        usage = ResponseUsage(
            input_tokens=self.prompt.tokens,
            output_tokens=completion.tokens,
            total_tokens=self.prompt.tokens + completion.tokens,
            input_tokens_details=InputTokensDetails.model_construct(cached_tokens=0),
            output_tokens_details=OutputTokensDetails(reasoning_tokens=0),
        )
        details = None if status == "completed" else IncompleteDetails(reason="max_output_tokens")
        made = self._response(status, [self._message(completion.text, status)])
        return made.model_copy(update={"usage": usage, "incomplete_details": details})

    def _response(self, status: str, output: list[Any]) -> Response:
        return Response.model_construct(
            id=self.id,
            object="response",
            created_at=self.created,
            status=status,
            model=self.model,
            output=output,
            error=None,
            incomplete_details=None,
            instructions=self.asked.instructions,
            max_output_tokens=self.asked.max_output_tokens,
            metadata=self.asked.metadata or {},
            parallel_tool_calls=False,
            temperature=self.asked.temperature,
            tool_choice="auto",
            tools=[],
            top_p=self.asked.top_p,
            usage=None,
        )

    def _message(self, text: str, status: str) -> ResponseOutputMessage:
        return ResponseOutputMessage.model_construct(
            id=f"msg_{self.id}", type="message", status=status, role="assistant", content=[_part(text)]
        )


def tool_calls(writer: Writer, asked: ChatRequest, prompt: Prompt, text: str) -> tuple[list[dict[str, Any]], str]:
    """The calls in a completion whose request named tools, by transformers' knowledge of the model; the rest of it."""
    template = get_response_template(writer.tokenizer, writer.model) if asked.messages_and_tools()[1] else None
    if template is None:
        return [], text
    try:
        parsed = writer.tokenizer.parse_response(text, template, prefix=prompt.text, tools=asked.tools)
    except (ValueError, RuntimeError, KeyError, TypeError, AttributeError):  # cut off in a call, or none that is one
        return [], text
    calls = []
    for call in parsed.get("tool_calls") or []:
        called = call["function"]
        arguments = called["arguments"]
        function = {"name": called["name"], "arguments": arguments if isinstance(arguments, str) else _json(arguments)}
        calls.append({"id": f"call_{uuid.uuid4().hex[:24]}", "type": "function", "function": function})
    return calls, str(parsed.get("content") or "") if calls else text


def _part(text: str) -> ResponseOutputText:
    return ResponseOutputText(type="output_text", text=text, annotations=[], logprobs=[])


def _plain(made: BaseModel) -> dict[str, Any]:
    return made.model_dump(mode="json", exclude_unset=True)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def sse(made: BaseModel) -> str:
    return f"data: {_json(_plain(made))}\n\n"
