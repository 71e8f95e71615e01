"""Requests and answers of the endpoint, in the shapes that clients of the OpenAI API send and expect.

Fields that change nothing here (`user`, `presence_penalty` 0, …) are passed over, as such servers do. What
would change the answer and cannot be done is refused, so that nobody is given less than was asked for.
"""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from openstall.compute_agent.serving import MOST_ROWS, MOST_TOKENS, Answer, Question, as_question

CHAT_TOKENS = 256
COMPLETION_TOKENS = 16
_UNABLE = {
    "n": 1,
    "best_of": 1,
    "echo": False,
    "suffix": None,
    "logprobs": None,
    "top_logprobs": None,
    "logit_bias": None,
    "tools": None,
    "functions": None,
    "audio": None,
    "response_format": {"type": "text"},
    "frequency_penalty": 0,
    "presence_penalty": 0,
}
"""What is refused unless it is left out, null, or this."""


class Asked(BaseModel):
    """The common part of both kinds of request."""

    model_config = ConfigDict(extra="allow", hide_input_in_errors=True)

    model: Annotated[str, Field(max_length=200)]
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    seed: Annotated[int, Field(ge=0, le=2**53)] | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: dict[str, Any] | None = None
    max_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None

    @model_validator(mode="after")
    def _refuse(self) -> Self:
        for name, allowed in _UNABLE.items():
            given = (self.model_extra or {}).get(name)
            if given is not None and given not in (allowed, {}, []) and given is not False:
                raise ValueError(f"{name} cannot be chosen here")
        return self

    @property
    def with_usage(self) -> bool:
        """Whether a stream ends with the counts."""
        return bool((self.stream_options or {}).get("include_usage"))

    def question(self, prompt: str, *, most: int, stops: tuple[str, ...] = ()) -> Question:
        """What the job is asked. SandboxError `bad_question` where it cannot be."""
        own = [self.stop] if isinstance(self.stop, str) else list(self.stop or [])
        plain = {
            "prompt": prompt,
            "max_tokens": self.max_tokens or most,
            "temperature": 1.0 if self.temperature is None else self.temperature,
            "top_p": 1.0 if self.top_p is None else self.top_p,
            "seed": self.seed,
            "stop": [*own, *stops][:4],
            "stream": bool(self.stream),
        }
        return as_question(plain)


class CompletionRequest(Asked):
    """`POST /v1/completions`: one prompt, as text."""

    prompt: str | Annotated[list[str], Field(min_length=1, max_length=1)] = ""

    def asked(self) -> Question:
        """The question for the job."""
        prompt = self.prompt if isinstance(self.prompt, str) else self.prompt[0]
        return self.question(prompt, most=COMPLETION_TOKENS)


class Part(BaseModel):
    """A part of a message; only text is read."""

    type: Literal["text"]
    text: str


class Message(BaseModel):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[Part]

    @property
    def text(self) -> str:
        """What it says."""
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class ChatRequest(Asked):
    """`POST /v1/chat/completions`: the messages become one text, a line each, with the role before it."""

    messages: Annotated[list[Message], Field(min_length=1, max_length=1000)]
    max_completion_tokens: Annotated[int, Field(ge=1, le=MOST_TOKENS)] | None = None

    def asked(self) -> Question:
        """The question for the job."""
        lines = [f"{message.role}: {message.text}\n" for message in self.messages]
        most = self.max_completion_tokens or CHAT_TOKENS
        return self.question("".join(lines) + "assistant:", most=most, stops=("\nuser:",))


class RowsRequest(BaseModel):
    """`POST /v1/predictions`, for models of tables: not of the OpenAI API, which has nothing like it."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    model: Annotated[str, Field(max_length=200)] | None = None
    rows: Annotated[list[list[float] | dict[str, float]], Field(min_length=1, max_length=MOST_ROWS)]


class Shape:
    """The objects of one answer: `chat` or plain completion, whole or in chunks."""

    def __init__(self, *, chat: bool, model: str, created: int) -> None:
        self._chat = chat
        self._head = {
            "id": ("chatcmpl-" if chat else "cmpl-") + secrets.token_hex(12),
            "created": created,
            "model": model,
        }

    def whole(self, text: str, last: Answer) -> dict[str, Any]:
        """A complete answer."""
        said: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text, "refusal": None}}
            if self._chat
            else {"text": text}
        )
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": last.finish or "stop"}
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": usage(last)}

    def chunk(self, text: str, *, first: bool = False, finish: str | None = None) -> dict[str, Any]:
        """A piece of an answer."""
        said: dict[str, Any] = {"text": text}
        if self._chat:
            delta = ({"role": "assistant"} if first else {}) | ({"content": text} if text or first else {})
            said = {"delta": delta}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": finish}
        return {**self._head, "object": self._piece, "choices": [choice]}

    def counts(self, last: Answer) -> dict[str, Any]:
        """The chunk after the last, for those who want the counts."""
        return {**self._head, "object": self._piece, "choices": [], "usage": usage(last)}

    @property
    def _piece(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"


def usage(last: Answer) -> dict[str, int]:
    """Counts of tokens."""
    return {
        "prompt_tokens": last.prompt_tokens,
        "completion_tokens": last.tokens,
        "total_tokens": last.prompt_tokens + last.tokens,
    }
