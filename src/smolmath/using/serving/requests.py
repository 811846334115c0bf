"""What a client may ask of the server: every field that is heard, and its bounds; all others are refused by name.

A field with OpenAI's own default (`n: 1`, `presence_penalty: 0`) asks for nothing, and is as good as left out.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NoReturn, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

_NEUTRAL: dict[str, list[Any]] = {
    "n": [1],
    "best_of": [1],
    "echo": [False],
    "logprobs": [False],
    "top_logprobs": [0],
    "logit_bias": [{}],
    "presence_penalty": [0, 0.0],
    "frequency_penalty": [0, 0.0],
    "suffix": [""],
    "store": [False],
    "background": [False],
    "truncation": ["disabled"],
    "response_format": [{"type": "text"}],
    "text": [{"format": {"type": "text"}}],
    "modalities": [["text"]],
}


class Refused(Exception):
    """A request that is not answered: what the client is told, in OpenAI's form."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code


def _joined(content: Any) -> Any:
    """The text of a content given as parts."""
    if not isinstance(content, list):
        return content
    kinds = [part.get("type") if isinstance(part, dict) else None for part in content]
    if other := [kind for kind in kinds if kind not in ("text", "input_text", "output_text")]:
        raise ValueError(f"text alone is read here, and a part is of type {other[0]!r}")
    texts = [part.get("text") for part in content]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a part of type text has no text")
    return "".join(texts)


def _or_greedy(temperature: float) -> float:
    """What is as good as 0: divided by less, logits overflow."""
    return temperature if temperature >= 1e-4 else 0.0


def _as_list(stop: Any) -> Any:
    return [stop] if isinstance(stop, str) else stop


Text = Annotated[str, BeforeValidator(_joined)]
Role = Annotated[
    Literal["system", "developer", "user", "assistant", "tool"],
    AfterValidator(lambda role: "system" if role == "developer" else role),  # the name that templates know
]


class _Heard(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _asks_for_something(cls, fields: Any) -> Any:
        """Without the fields that say nothing."""
        if not isinstance(fields, dict):
            return fields
        return {
            name: value
            for name, value in fields.items()
            if value is not None
            and not any(type(value) is type(one) and value == one for one in _NEUTRAL.get(name, []))
        }


class Message(_Heard):
    role: Role
    content: Text = ""
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StreamOptions(_Heard):
    include_usage: bool = False
    include_obfuscation: bool = False


class Request(_Heard):
    """The fields that all three ways of asking share."""

    model: str | None = None
    stream: bool = False
    temperature: Annotated[float, Field(ge=0, le=2), AfterValidator(_or_greedy)] = 1.0
    top_p: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    user: str | None = None  # OpenAI's own bookkeeping
    metadata: dict[str, str] | None = None


class _WithStop(Request):
    stop: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=256)]],
        BeforeValidator(_as_list),
        Field(min_length=1, max_length=4),
    ] = []
    stream_options: StreamOptions = StreamOptions()


class ChatRequest(_WithStop):
    messages: Annotated[list[Message], Field(min_length=1)]
    max_tokens: Annotated[int, Field(ge=1)] = 1024
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    tools: list[dict[str, Any]] = []
    tool_choice: Literal["auto", "none", "required"] = "auto"  # a call can't be forced: `required` is `auto`
    parallel_tool_calls: bool = True

    @property
    def limit(self) -> int:
        return self.max_completion_tokens or self.max_tokens

    def messages_and_tools(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        messages = [{"content": "", **message.model_dump(exclude_none=True)} for message in self.messages]
        return messages, [] if self.tool_choice == "none" else self.tools


class CompletionRequest(_WithStop):
    prompt: str
    max_tokens: Annotated[int, Field(ge=0)] = 16

    @property
    def limit(self) -> int:
        return self.max_tokens


class _Item(_Heard):
    role: Role
    content: Text
    type: Literal["message"] = "message"
    id: str | None = None
    status: str | None = None


class ResponseRequest(Request):
    input: Annotated[str, Field(min_length=1)] | Annotated[list[_Item], Field(min_length=1)]
    instructions: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] = 1024

    @property
    def limit(self) -> int:
        return self.max_output_tokens

    def messages_and_tools(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        asked = [("user", self.input)] if isinstance(self.input, str) else [(i.role, i.content) for i in self.input]
        system = [("system", self.instructions)] if self.instructions else []
        return [{"role": role, "content": content} for role, content in [*system, *asked]], []


Kind = TypeVar("Kind", bound=Request)


def read_request(body: bytes, kind: type[Kind]) -> Kind:
    """Raises: Refused if the body is no JSON object, or asks for what can't be had."""
    try:
        fields = json.loads(body, parse_constant=_no_number)
        json.dumps(fields, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("the body holds half of a surrogate pair (\\ud800 to \\udfff), which is no text.") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is no JSON that can be read: {str(error)[:200]}") from None
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise _refusal(error) from None


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _refusal(error: ValidationError) -> Refused:
    first: Mapping[str, Any] = error.errors(include_url=False, include_context=False)[0]
    where = ".".join(str(part) for part in first["loc"])[:200]
    if first["type"] == "extra_forbidden":
        return Refused(f"{where}: this server can't do that. Leave it out.", param=where, code="unsupported_parameter")
    said = str(first["msg"]).removeprefix("Value error, ")
    return Refused(f"{where}: {said}." if where else f"the body: {said}.", param=where or None)
