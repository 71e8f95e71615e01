"""What a serve job is asked and what it answers, as it goes over each pipe and stream between its ends."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from openstall.market.errors import SandboxError

MOST_OPEN: Final = 8
"""Questions of one job that may wait for an answer at once."""
_KIB: Final = 1024
QUESTION_CAP_BYTES: Final = 64 * _KIB
LINE_CAP_BYTES: Final = 192 * _KIB
"""Longest single line of an answer."""
ANSWER_CAP_BYTES: Final = 256 * _KIB
"""All lines of one answer together."""
MOST_TOKENS: Final = 4096
MOST_ROWS: Final = 2048

Number = Annotated[int, Meta(ge=1, le=2**53)]
Row = Annotated[list[float], Meta(max_length=10_000)] | Annotated[dict[str, float], Meta(max_length=10_000)]
Stop = Annotated[str, Meta(min_length=1, max_length=64)]


class Question(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rows for a model of tables, or a prompt for a model of text; `n` numbers the questions of one job.

    `temperature` 0 always takes the likeliest token. With `stream` the text comes in parts.
    """

    n: Annotated[int, Meta(ge=0, le=2**53)] = 0
    rows: Annotated[list[Row], Meta(min_length=1, max_length=MOST_ROWS)] | None = None
    prompt: str | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=MOST_TOKENS)] = 16
    temperature: Annotated[float, Meta(ge=0, le=2)] = 1.0
    top_p: Annotated[float, Meta(gt=0, le=1)] = 1.0
    seed: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    stop: Annotated[list[Stop], Meta(max_length=4)] = []
    stream: bool = False


class Trouble(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why a question was not answered: a stable code, and words."""

    code: Annotated[str, Meta(pattern=r"^[a-z_]{1,40}\Z")]
    words: Annotated[str, Meta(max_length=2000)]


class Answer(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True, tag="answer"
):
    """One line of an answer; `last` ends it. `finish` is `stop`, or `length` where `max_tokens` cut it."""

    n: Number
    text: str = ""
    predictions: Annotated[list[str], Meta(max_length=MOST_ROWS)] = []
    classes: Annotated[list[str], Meta(max_length=1000)] = []
    scores: Annotated[list[list[float]], Meta(max_length=MOST_ROWS)] = []
    finish: Annotated[str, Meta(pattern=r"^(stop|length)?\Z")] = ""
    prompt_tokens: Annotated[int, Meta(ge=0, le=2**31)] = 0
    tokens: Annotated[int, Meta(ge=0, le=MOST_TOKENS)] = 0
    trouble: Trouble | None = None
    last: bool = False


_LONGEST_N: Final = 2**53
_QUESTIONS: Final = msgspec.json.Decoder(Question)
_ANSWERS: Final = msgspec.json.Decoder(Answer)


def check_question(question: Question) -> Question:
    """Raises SandboxError `bad_question` unless it asks for one thing, fits the cap, and can be sent."""
    if (question.rows is None) == (question.prompt is None):
        raise bad_question("it must hold either rows or a prompt")
    try:
        # each hop gives it a number of its own: counted with the longest
        raw = msgspec.json.encode(msgspec.structs.replace(question, n=_LONGEST_N))
    except UnicodeEncodeError as error:
        raise bad_question("its text holds half a character (a lone surrogate)") from error
    if len(raw) > QUESTION_CAP_BYTES:
        raise bad_question(f"it has {len(raw)} bytes, {QUESTION_CAP_BYTES} are allowed")
    try:
        _QUESTIONS.decode(raw)
    except msgspec.DecodeError as error:  # NaN and Infinity have no form in JSON
        raise bad_question(f"it holds something that is no number ({error})") from error
    return question


def read_question(raw: bytes) -> Question:
    """A question from anybody. Raises SandboxError `bad_question`."""
    if len(raw) > QUESTION_CAP_BYTES:
        raise bad_question(f"it has {len(raw)} bytes, {QUESTION_CAP_BYTES} are allowed")
    try:
        return check_question(_QUESTIONS.decode(raw))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise bad_question(str(error)) from error


def as_question(value: Any) -> Question:
    """A question from a JSON value. Raises SandboxError `bad_question`."""
    try:
        return check_question(msgspec.convert(value, Question))
    except msgspec.ValidationError as error:
        raise bad_question(str(error)) from error
    except UnicodeEncodeError as error:
        raise bad_question("it holds half a character (a lone surrogate)") from error


def read_answer(raw: bytes) -> Answer:
    """A line from a sandbox or from a provider. Raises SandboxError `bad_answer`."""
    if len(raw) > LINE_CAP_BYTES:
        raise _bad_answer(f"{len(raw)} bytes in one line")
    try:
        return _ANSWERS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _bad_answer(str(error)) from error


class OpenQuestions:
    """Which questions are not answered yet, and how long each answer has become. Trusts neither side.

    A question keeps its place until the job has answered it, also where nobody waits for that any more: the
    job answers one after the other, and passes none over.
    """

    def __init__(self) -> None:
        self._sizes: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._sizes)

    def put(self, n: int) -> None:
        """Raises SandboxError `too_many_open` or, for a number that waits already, `bad_question`."""
        if len(self._sizes) >= MOST_OPEN:
            raise SandboxError(
                "too_many_open",
                f"{MOST_OPEN} questions are not answered yet; those that were given up count too.",
                "Wait until one of them is answered, or look whether the job still runs.",
            )
        if n in self._sizes:
            raise bad_question(f"number {n} waits for its answer already")
        self._sizes[n] = 0

    def forget(self, n: int) -> None:
        """The question was not handed in."""
        self._sizes.pop(n, None)

    def take(self, answer: Answer, size: int) -> None:
        """Count a line. Raises SandboxError `bad_answer` if nobody asked, or it is too long."""
        if answer.n not in self._sizes:
            raise _bad_answer(f"nobody asked question {answer.n}")
        self._sizes[answer.n] += size
        if self._sizes[answer.n] > ANSWER_CAP_BYTES:
            raise _bad_answer(f"an answer is longer than {ANSWER_CAP_BYTES} bytes")
        if answer.last:
            del self._sizes[answer.n]


def bad_question(words: str) -> SandboxError:
    """A question that no job can answer."""
    return SandboxError(
        "bad_question", f"The question cannot be asked: {words}.", "Correct it and ask again."
    )


def _bad_answer(words: str) -> SandboxError:
    return SandboxError("bad_answer", f"The answer makes no sense: {words}.")
