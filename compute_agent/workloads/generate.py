"""Text from a model that takes token ids and gives a score for each possible next one.

What is served: an ONNX model with one int64 input [1, length] and one float output, [1, vocabulary] for the
next token or [1, length, vocabulary] for each place, whose metadata says `text`: `{"tokenizer": "bytes",
"context": N}`. Tokens are the bytes of UTF-8, so the vocabulary is 256; `"end"` may name one that ends a
text. Earlier tokens than `context` are not seen.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime

from openstall.compute_agent.workloads.channel import Fault, is_memory_error
from openstall.compute_agent.workloads.findings import shown

_BYTES: Final = 256
_MOST_CONTEXT: Final = 4096
_PAD: Final = 0
_KEY: Final = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A piece of an answer; the last one says how it ended, and counts."""

    text: str
    finish: str = ""
    prompt_tokens: int = 0
    tokens: int = 0


class TextModel:
    """One model of text, loaded."""

    def __init__(self, session: onnxruntime.InferenceSession, facts: dict[str, Any]) -> None:
        """Raises Fault `model_not_text` where it is not as its metadata says."""
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(int64)" or len(inputs[0].shape) != 2:
            raise _not_text("it does not take one table of int64 tokens [1, length]")
        if len(session.get_outputs()) != 1:
            raise _not_text("it has more than one output")
        self._session = session
        self._name = inputs[0].name
        length = inputs[0].shape[1]
        self._fixed = length if isinstance(length, int) and length > 0 else 0
        self.context: int = self._fixed or facts["context"]
        self._end: int = facts.get("end", -1)
        self._scores(np.full((1, self.context), _PAD, dtype=np.int64))  # it runs, and its vocabulary is right

    def generate(self, asked: dict[str, Any]) -> Iterator[Text]:
        """The text after a prompt, piece by piece."""
        given = list(asked["prompt"].encode())
        tokens = list(given) or [_PAD]
        chance = np.random.default_rng(asked["seed"])
        pieces = codecs.getincrementaldecoder("utf-8")("replace")
        said, sent, finish = "", 0, "length"
        hold = max((len(stop) for stop in asked["stop"]), default=1) - 1
        count = 0
        while count < asked["max_tokens"]:
            token = self._pick(self._next(tokens), asked, chance)
            count += 1
            if token == self._end:
                finish = "stop"
                break
            tokens.append(token)
            said += pieces.decode(bytes([token]))
            cut = min((at for stop in asked["stop"] if (at := said.find(stop)) >= 0), default=-1)
            if cut >= 0:
                said, finish = said[:cut], "stop"
                break
            ready = len(said) - hold  # what may still be the beginning of a stop word is kept back
            if ready > sent:
                yield Text(text=said[sent:ready])
                sent = ready
        if finish == "length":
            said += pieces.decode(b"", final=True)
        yield Text(text=said[sent:], finish=finish, prompt_tokens=len(given), tokens=count)

    def _next(self, tokens: list[int]) -> npt.NDArray[np.float64]:
        seen = tokens[-self.context :]
        if self._fixed:
            seen = [_PAD] * (self._fixed - len(seen)) + seen
        return self._scores(np.array([seen], dtype=np.int64))

    def _scores(self, tokens: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        try:
            (answer,) = self._session.run(None, {self._name: tokens})
        except Exception as error:  # onnxruntime has no common base class of its own
            if is_memory_error(error):
                raise MemoryError from error
            raise Fault("model_failed", f"The model failed: {shown(str(error), length=300)}") from error
        if answer.ndim == 3 and answer.shape[1] == tokens.shape[1]:
            answer = answer[:, -1]
        if answer.shape != (1, _BYTES) or answer.dtype.kind != "f":
            raise _not_text(f"its output is not one score for each of {_BYTES} tokens")
        scores: npt.NDArray[np.float64] = answer[0].astype(np.float64)
        if not np.isfinite(scores).all():
            raise Fault("model_failed", "The model answers NaN or infinity.")
        return scores

    def _pick(self, scores: npt.NDArray[np.float64], asked: dict[str, Any], chance: Any) -> int:
        if asked["temperature"] == 0:
            return int(scores.argmax())
        scaled = (scores - scores.max()) / max(asked["temperature"], 1e-3)
        likely = np.exp(scaled)
        likely /= likely.sum()
        if asked["top_p"] < 1:
            order = np.argsort(-likely, kind="stable")
            kept = order[: int(np.searchsorted(np.cumsum(likely[order]), asked["top_p"])) + 1]
            masked = np.zeros_like(likely)
            masked[kept] = likely[kept]
            likely = masked / masked.sum()
        return int(chance.choice(_BYTES, p=likely))


def text_facts(session: onnxruntime.InferenceSession) -> dict[str, Any] | None:
    """What the model says of itself as a model of text; None where it does not call itself one."""
    raw = session.get_modelmeta().custom_metadata_map.get(_KEY)
    if raw is None:
        return None
    try:
        facts = json.loads(raw)
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict) or set(facts) - {"tokenizer", "context", "end"}:
        raise _not_text("its metadata “text” is malformed")
    if facts.get("tokenizer") != "bytes":
        raise _not_text("it needs another tokenizer than “bytes”, and this version has no other")
    numbers = {"context": facts.get("context"), "end": facts.get("end", 0)}
    if not all(type(number) is int for number in numbers.values()):
        raise _not_text("its metadata “text” is malformed")
    if not 1 <= numbers["context"] <= _MOST_CONTEXT or not 0 <= numbers["end"] < _BYTES:
        raise _not_text(f"its context must lie between 1 and {_MOST_CONTEXT}, its end below {_BYTES}")
    return facts


def _not_text(words: str) -> Fault:
    return Fault(
        "model_not_text",
        f"The model cannot be served as one of text: {words}.",
        "Export it as the guide says.",
    )
