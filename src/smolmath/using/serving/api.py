"""transformers' OpenAI-compatible server, held to one model that answers as evaluation had it answer.

Departures from `transformers serve models/x`, each because a client would be misled:

- The model is loaded as evaluation loads it (in the same type, with the same end tokens), goes by its phase's name,
  and no request can load another one.
- Temperature counts. The server samples only where the model's generation config says `do_sample`; here a request
  without a temperature has 1.0, one with 0 is greedy, and no top_k or repetition penalty of a base model's applies.
- A chat without a system message gets the one of training, also for `base`, whose own template has none.
- A prompt that the model can't read is refused (400) instead of filling the memory, `max_completion_tokens` is heard,
  `n` above 1 is refused instead of ignored, and errors have OpenAI's form.
"""

from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from jinja2 import TemplateError
from transformers import GenerationConfig
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.transcription import TranscriptionHandler
from transformers.cli.serving.utils import GenerateManager, GenerationState
from transformers.utils import logging

from smolmath.engines.transformers import TransformersEngine, eos_ids
from smolmath.prompts import with_default_system
from smolmath.using.solving.models import FoundModel

_NOT_FOR_ONE_MODEL = ("/load_model", "/reset", "/v1/audio/transcriptions")


def model_server(model: FoundModel, engine: TransformersEngine) -> FastAPI:
    """The server's app: /v1/chat/completions, /v1/completions, /v1/responses, /v1/models, /health."""
    logging.set_verbosity_error()  # it warns of every request that one came
    tokenizer = engine.tokenizer
    tokenizer.chat_template = with_default_system(tokenizer.chat_template, model.prompt.system)
    engine.model.generation_config = GenerationConfig(
        do_sample=True,
        temperature=1.0,
        top_p=1.0,
        top_k=0,
        eos_token_id=sorted(eos_ids(engine.model, tokenizer)),
        pad_token_id=tokenizer.pad_token_id,
    )
    models, generation = _OneModel(model.name, engine), _Generation(model.context)
    app: FastAPI = build_server(
        models,
        _Chat(models, generation),
        completion_handler=CompletionHandler(models, generation),
        response_handler=ResponseHandler(models, generation),
        transcription_handler=TranscriptionHandler(models, generation),
        generation_state=generation,
    )
    app.router.routes[:] = [route for route in app.router.routes if _path(route) not in _NOT_FOR_ONE_MODEL]

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return _error(error.status_code, error.detail)

    @app.exception_handler(TemplateError)
    async def unfit(request: Request, error: TemplateError) -> JSONResponse:
        return _error(400, f"the messages don't fit the model's chat template: {error}")

    return app


def _error(status: int, message: str) -> JSONResponse:
    """In OpenAI's form, which is the only one that its client shows to people."""
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error"}}, status_code=status)


def _path(route: Any) -> str | None:
    return getattr(route, "path", None)


class _OneModel(ModelManager):  # type: ignore[misc]  # transformers' classes are Any here
    """The server's models: the one that is loaded, by its name."""

    def __init__(self, name: str, engine: TransformersEngine) -> None:
        self._name, self._engine = name, engine
        super().__init__(force_model=name)

    @staticmethod
    def process_model_name(model_id: str) -> str:
        return model_id  # no revision is added to it

    def load_model_and_processor(self, model_id_and_revision: str, *_: Any, **__: Any) -> tuple[Any, Any]:
        return self._engine.model, self._engine.tokenizer

    def get_gen_models(self) -> list[dict[str, Any]]:
        return [{"id": self._name, "object": "model", "created": 0, "owned_by": "smolmath"}]


class _Chat(ChatCompletionHandler):  # type: ignore[misc]
    async def handle_request(self, body: dict[str, Any], request_id: str) -> Any:
        messages = body.get("messages")
        if not messages or not all(isinstance(message, dict) and "role" in message for message in messages):
            raise HTTPException(422, "messages: a list of at least one {role, content}.")
        if body.get("n") not in (None, 1):
            raise HTTPException(422, "n: this server writes one completion a request. Ask several times.")
        limit = body.pop("max_completion_tokens", None)
        return await super().handle_request(body if limit is None else body | {"max_tokens": limit}, request_id)


class _Generation(GenerationState):  # type: ignore[misc]
    def __init__(self, context: int) -> None:
        super().__init__()
        self._manager = _WithinContext(context)

    def get_manager(self, model_id: str, use_cb: bool = False) -> "_WithinContext":
        return self._manager


class _WithinContext(GenerateManager):  # type: ignore[misc]
    """Generates one request after the other, none beyond what the model can read."""

    def __init__(self, context: int) -> None:
        super().__init__()
        self._context = context

    def generate_streaming(
        self, model: Any, processor: Any, inputs: Any, gen_config: Any, request_id: str, response_parser: Any = None
    ) -> Any:
        self._cut(inputs, gen_config)
        return super().generate_streaming(model, processor, inputs, gen_config, request_id, response_parser)

    async def generate_non_streaming(
        self, model: Any, processor: Any, inputs: Any, gen_config: Any, request_id: str
    ) -> Any:
        self._cut(inputs, gen_config)
        return await super().generate_non_streaming(model, processor, inputs, gen_config, request_id)

    def _cut(self, inputs: Any, gen_config: Any) -> None:
        prompt = inputs["input_ids"].shape[-1]
        if prompt >= self._context:
            raise HTTPException(
                400, f"the prompt has {prompt:,} tokens; prompt and completion together may have {self._context:,}."
            )
        gen_config.max_new_tokens = min(gen_config.max_new_tokens or self._context, self._context - prompt)
