"""Completions for many clients by one model: read in one thread, written in another, dropped when nobody waits.

The event loop only carries text, so that /health answers whatever is read or written.
"""

import asyncio
import copy
import secrets
import threading
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from smolmath.engines import Completion, Sampling
from smolmath.engines.transformers import TransformersEngine
from smolmath.using.serving.requests import ChatRequest, CompletionRequest, Refused, ResponseRequest, read_request

MOST_HERE = 128  # requests at once; one that waits costs its prompt

Asked = ChatRequest | CompletionRequest | ResponseRequest
Kind = TypeVar("Kind", ChatRequest, CompletionRequest, ResponseRequest)


@dataclass(frozen=True)
class Prompt:
    text: str
    tokens: int


class _NobodyWaits(Exception):
    """Raised inside a generation to end it."""


class _Stopped(Exception):
    """Raised inside a generation at a stop string."""


class _Text(TransformersEngine):
    """The engine, for prompts that are rendered already."""

    def render(self, prompt: Any) -> str:
        return str(prompt)


class Writer:
    """One model's work. Completions are written one after the other, each with a generator of its own.

    Args: context: tokens that the model reads, prompt and completion together.
    """

    def __init__(self, engine: TransformersEngine, context: int) -> None:
        self._engine, self._context = _Text(engine.model, engine.tokenizer), context
        # A copy: a fast tokenizer that pads in one thread can't be used in another.
        self.model, self.tokenizer = engine.model, copy.deepcopy(engine.tokenizer)
        longest = max(map(len, self.tokenizer.get_vocab()))
        self._most_characters = context * longest  # beyond that it needn't be counted, which takes time and memory
        self._reading, self._writing = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self._here = 0

    async def read(self, body: bytes, kind: type[Kind], name: str) -> tuple[Kind, Prompt]:
        """The request and the prompt that it makes. Raises: Refused."""
        if self._here >= MOST_HERE:
            raise Refused("too many requests wait already. Try again in a while.", status=429, code="rate_limit")
        with self._counted():
            return await asyncio.get_running_loop().run_in_executor(self._reading, self._read, body, kind, name)

    def _read(self, body: bytes, kind: type[Kind], name: str) -> tuple[Kind, Prompt]:
        asked = read_request(body, kind)
        if asked.model not in (None, name):
            said = f"model: {asked.model[:200]!r} is not here. The one that is served is {name!r}."
            raise Refused(said, status=404, param="model", code="model_not_found")
        text = self._text(asked)
        if len(text) > self._most_characters:
            raise self._too_long(f"{len(text):,} characters")
        tokens = len(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
        if tokens >= self._context:
            raise self._too_long(f"{tokens:,} tokens")
        if not tokens:
            raise Refused("the prompt is empty.")
        return asked, Prompt(text, tokens)

    def _text(self, asked: Asked) -> str:
        if isinstance(asked, CompletionRequest):
            # What the tokenizer itself puts before a text (some models' <s>), as OpenAI's and vLLM's servers do.
            return str(self.tokenizer.decode(self.tokenizer("")["input_ids"])) + asked.prompt
        messages, tools = asked.messages_and_tools()
        try:
            return str(
                self.tokenizer.apply_chat_template(
                    messages, tools=tools or None, tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a template is a program of the model's: anything may go wrong in it
            reason = str(error).strip().splitlines() or [type(error).__name__]
            raise Refused(f"the messages don't fit the model's chat template: {reason[0][:200]}") from None

    def _too_long(self, length: str) -> Refused:
        said = f"the prompt has {length}; prompt and completion together may have {self._context:,} tokens."
        return Refused(said, code="context_length_exceeded")

    async def write(self, asked: Asked, prompt: Prompt) -> AsyncGenerator[str | Completion, None]:
        """The completion's pieces as they come, then the whole. Closing the iterator drops the request."""
        loop, items, gone = (
            asyncio.get_running_loop(),
            asyncio.Queue[str | Completion | Exception](),
            threading.Event(),
        )
        sampling = Sampling(
            temperature=asked.temperature,
            top_p=asked.top_p,
            samples=1,
            max_completion_tokens=min(asked.limit, self._context - prompt.tokens),
            seed=secrets.randbits(63) if asked.seed is None else asked.seed,
        )
        stop = [] if isinstance(asked, ResponseRequest) else asked.stop

        def put(item: str | Completion | Exception) -> None:
            if gone.is_set():
                raise _NobodyWaits
            loop.call_soon_threadsafe(items.put_nowait, item)

        def work() -> None:
            try:
                put(self._complete(prompt.text, sampling, stop, put))
            except _NobodyWaits:
                pass
            except RuntimeError as error:  # torch's: out of memory, a device that is lost
                reason = str(error).strip().splitlines() or [type(error).__name__]
                loop.call_soon_threadsafe(
                    items.put_nowait, Refused(f"the model failed: {reason[0][:200]}", status=500)
                )
            except Exception as error:  # to the coroutine that waits for it, which raises it
                loop.call_soon_threadsafe(items.put_nowait, error)

        written: Future[None] = self._writing.submit(work)
        with self._counted():
            try:
                while not isinstance(item := await items.get(), Completion):
                    if isinstance(item, Exception):
                        raise item
                    yield item
                yield item
            finally:
                gone.set()
                written.cancel()  # if it hasn't begun

    def _complete(
        self, prompt: str, sampling: Sampling, stop: Sequence[str], put: Callable[[str], None]
    ) -> Completion:
        if not sampling.max_completion_tokens:
            return Completion("", "length", 0)
        text = _UntilStop(stop, put)
        try:
            ((completion,),) = self._engine.generate([prompt], sampling, text.write)  # type: ignore[list-item]
        except _Stopped:
            return Completion(text.written, "stop", self._engine.count_tokens(text.written))
        text.end()
        return Completion(text.written, completion.finish_reason, completion.tokens)

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._here += 1
        try:
            yield
        finally:
            self._here -= 1


class _UntilStop:
    """Hands text on up to the first stop string; holds back what may be the beginning of one."""

    def __init__(self, stop: Sequence[str], put: Callable[[str], None]) -> None:
        self._stop, self._put, self._held, self.written = stop, put, "", ""

    def write(self, piece: str) -> None:
        self._held += piece
        if found := [at for one in self._stop if (at := self._held.find(one)) >= 0]:
            self._give(min(found))
            raise _Stopped
        begun = max((_begun(self._held, one) for one in self._stop), default=0)
        self._give(len(self._held) - begun)

    def end(self) -> None:
        self._give(len(self._held))

    def _give(self, length: int) -> None:
        text, self._held = self._held[:length], self._held[length:]
        self.written += text
        self._put(text)  # also an empty one: it finds out whether somebody waits


def _begun(text: str, stop: str) -> int:
    """How many of the last characters may begin the stop string."""
    return next((n for n in range(len(stop) - 1, 0, -1) if text.endswith(stop[:n])), 0)
