"""An OpenAI-compatible server of one model, which answers as evaluation had it answer.

Not transformers' own (`transformers serve`), whose parts would all have to be replaced: it reads prompts in the event
loop, takes a chat template and a generation config from any request, seeds one generator for all requests, goes on
for clients that have left, and ignores or fails on much of what a client may ask. Here OpenAI's own types say what is
written, requests.py what is heard, and writing.py does the work.

- The model is loaded as evaluation loads it, in the same type. It goes by its phase's name, and no request can load
  another one.
- A request without a temperature has 1.0, one with 0 is greedy; no top_k or repetition penalty applies.
- A chat without a system message gets the one of training, also for `base`, whose own template has none.
- What can't be had is refused (400) instead of ignored, in OpenAI's form.
"""

import asyncio
import copy
import json
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from smolmath.engines.transformers import TransformersEngine
from smolmath.prompts import with_default_system
from smolmath.using.serving.replies import ChatReply, Reply, ResponseReply, TextReply
from smolmath.using.serving.requests import ChatRequest, CompletionRequest, Refused, ResponseRequest
from smolmath.using.serving.writing import Writer
from smolmath.using.solving.models import FoundModel

MOST_BYTES = 1 << 20  # of a request's body
Result = TypeVar("Result")
_CLIENT_LEFT = 499  # nginx's number, which nobody receives


def model_server(model: FoundModel, engine: TransformersEngine) -> FastAPI:
    """The server's app: /v1/chat/completions, /v1/completions, /v1/responses, /v1/models, /health."""
    tokenizer = copy.deepcopy(engine.tokenizer)
    tokenizer.chat_template = with_default_system(tokenizer.chat_template, model.prompt.system)
    writer = Writer(TransformersEngine(engine.model, tokenizer), model.context)
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)  # FastAPI's pages load scripts from elsewhere
    name = model.public_name
    listed = {"id": name, "object": "model", "created": 0, "owned_by": "smolmath"}

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/v1/models")
    async def models() -> dict[str, Any]:
        return {"object": "list", "data": [listed]}

    @app.get("/v1/models/{asked:path}")
    async def retrieve(asked: str) -> dict[str, Any]:
        if asked != name:
            raise Refused(
                f"model: {asked[:200]!r} is not here. The one that is served is {name!r}.",
                status=404, param="model", code="model_not_found",
            )  # fmt: skip
        return listed

    async def answered(request: Request, kind: type[Any], replies: type[Reply]) -> Response:
        asked, prompt = await writer.read(await _body(request), kind, name)
        reply = replies(writer, asked, prompt, name)
        if asked.stream:
            return _Stream(_with_errors(reply.events()), media_type="text/event-stream")
        whole = await _unless_left(request.receive, reply.whole())
        return Response(status_code=_CLIENT_LEFT) if whole is None else JSONResponse(whole)

    @app.post("/v1/chat/completions")
    async def chat(request: Request) -> Response:
        return await answered(request, ChatRequest, ChatReply)

    @app.post("/v1/completions")
    async def complete(request: Request) -> Response:
        return await answered(request, CompletionRequest, TextReply)

    @app.post("/v1/responses")
    async def respond(request: Request) -> Response:
        return await answered(request, ResponseRequest, ResponseReply)

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return JSONResponse(_in_openai_form(error), status_code=error.status)

    @app.exception_handler(HTTPException)
    async def no_such_page(request: Request, error: HTTPException) -> JSONResponse:
        said = f"{request.method} {request.url.path[:200]}: {error.detail}."
        return JSONResponse(_in_openai_form(Refused(said)), status_code=error.status_code)

    @app.exception_handler(ClientDisconnect)
    async def left(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    return app


async def _body(request: Request) -> bytes:
    """Raises: Refused if it is too large, or is said to be no JSON: what a page of another site may send unasked."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Refused("the body must be sent as Content-Type: application/json.", status=415)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_BYTES:
            raise Refused(f"the body has more than {MOST_BYTES:,} bytes.", status=413)
    return bytes(body)


class _Stream(StreamingResponse):
    """A stream that ends when its reader has left, also while it waits for its turn."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await _unless_left(receive, self.stream_response(send))
        finally:
            await self.body_iterator.aclose()  # type: ignore[attr-defined]  # it is an async generator


async def _with_errors(events: AsyncGenerator[str, None]) -> AsyncGenerator[str]:
    """A stream whose error is told in it: its status has been sent."""
    async with aclosing(events):
        try:
            async for event in events:
                yield event
        except Refused as error:
            yield f"data: {json.dumps(_in_openai_form(error))}\n\n"


async def _unless_left(receive: Receive, work: Coroutine[Any, Any, Result]) -> Result | None:
    """What comes of the work, or None if the client has left before: then it is cancelled."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return await working if working.done() else None
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.wait({working, leaving})


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _in_openai_form(error: Refused) -> dict[str, Any]:
    """The only one whose message OpenAI's client shows to people."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": error.code}}
