"""The application behind one endpoint: models, completions, chat, and rows for models of tables."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from openstall.app.api.guard import BodyTooLarge
from openstall.app.clock import Clock
from openstall.app.endpoint.shapes import Asked, ChatRequest, CompletionRequest, RowsRequest, Shape
from openstall.app.logging import get_logger
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.compute_agent.serving import Question, as_question
from openstall.market.errors import Conflict, OpenstallError, PeerError

_STATUS = {"too_many_open": 429, "bad_question": 400, "not_served": 404, "model_not_found": 404}
_DONE = b"data: [DONE]\n\n"

log = get_logger("openstall.endpoint")


class UnknownModel(OpenstallError):
    """The request names a model that is not served here."""


class _Front:
    """The model of one order, under the name that clients give."""

    def __init__(self, order_id: str, model: str, lines: ServeLines) -> None:
        self.order_id = order_id
        self.model = model
        self.lines = lines

    def check(self, name: str | None) -> None:
        """Raises UnknownModel for any other name."""
        if name is not None and name != self.model:
            words = f"The model of this endpoint is “{self.model}”."
            raise UnknownModel("model_not_found", words, "Name that one.")

    async def answer(self, question: Question, shape: Shape, body: Asked) -> Response:
        """All at once, or as server-sent events."""
        if body.stream:
            pieces = _pieces(self, question, shape, counts=body.with_usage)
            first = await anext(pieces)  # a refusal comes as a status, not inside the stream
            return StreamingResponse(_joined(first, pieces), media_type="text/event-stream")
        async with self.lines.asking(self.order_id, question) as found:
            answered = [line async for line in found]
        return JSONResponse(shape.whole("".join(line.text for line in answered), answered[-1]))


def make_application(order_id: str, *, model: str, lines: ServeLines, clock: Clock) -> FastAPI:
    """The routes for the model of one order; `model` is the name that clients give."""
    app = FastAPI(title="Openstall endpoint", openapi_url=None, docs_url=None, redoc_url=None)
    entry = {"id": model, "object": "model", "created": clock.now(), "owned_by": "openstall"}
    front = _Front(order_id, model, lines)
    _install_errors(app)

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [entry]}

    @app.get("/v1/models/{name}")
    async def one(name: str) -> dict[str, object]:
        front.check(name)
        return entry

    @app.post("/v1/completions")
    async def completions(body: CompletionRequest) -> Response:
        front.check(body.model)
        shape = Shape(chat=False, model=model, created=clock.now())
        return await front.answer(body.asked(), shape, body)

    @app.post("/v1/chat/completions")
    async def chat(body: ChatRequest) -> Response:
        front.check(body.model)
        shape = Shape(chat=True, model=model, created=clock.now())
        return await front.answer(body.asked(), shape, body)

    @app.post("/v1/predictions")
    async def predictions(body: RowsRequest) -> dict[str, object]:
        front.check(body.model)
        found = await lines.ask(order_id, as_question({"rows": body.rows}))
        return {"object": "predictions", "model": model, "classes": [], "scores": [], **found}

    return app


async def _pieces(front: _Front, question: Question, shape: Shape, *, counts: bool) -> AsyncIterator[bytes]:
    """The server-sent events of an answer."""
    first = True
    async with front.lines.asking(front.order_id, question) as found:
        async for line in found:
            if line.text or first:
                yield _event(shape.chunk(line.text, first=first))
                first = False
        yield _event(shape.chunk("", finish=line.finish or "stop"))
        if counts:
            yield _event(shape.counts(line))
    yield _DONE


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """All of it; what goes wrong on the way is told in the stream, which has begun already."""
    yield first
    try:
        async for piece in rest:
            yield piece
    except OpenstallError as error:
        yield _event(_failure(error))


def _event(document: dict[str, object]) -> bytes:
    return b"data: " + json.dumps(document, separators=(",", ":")).encode() + b"\n\n"


def _failure(error: OpenstallError) -> dict[str, object]:
    message = f"{error.message} {error.what_next}".strip()
    kind = "server_error" if isinstance(error, PeerError | Conflict) else "invalid_request_error"
    return {"error": {"message": message, "type": kind, "param": None, "code": error.code}}


def _install_errors(app: FastAPI) -> None:
    """Every failure in the shape that clients of the OpenAI API read."""

    async def known(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, OpenstallError):
            raise error
        usual = 503 if isinstance(error, PeerError | Conflict) else 400
        return JSONResponse(_failure(error), status_code=_STATUS.get(error.code, usual))

    async def invalid(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        one = error.errors()[0]
        where = ".".join(str(part) for part in one["loc"][1:])
        words = f"{where or 'the request'}: {one['msg']}"
        return _refusal(400, "invalid_request", words, where or None)

    async def http(_request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, HTTPException):
            raise error
        if isinstance(error.__cause__, BodyTooLarge):
            return _refusal(413, "too_large", "The request is too large.")
        return _refusal(error.status_code, "no_such_path", str(error.detail))

    async def bug(_request: Request, error: Exception) -> JSONResponse:
        log.error("endpoint request crashed", exc_info=error)
        return _refusal(500, "internal_error", "Something went wrong inside the node.")

    app.add_exception_handler(OpenstallError, known)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(Exception, bug)


def _refusal(status: int, code: str, words: str, param: str | None = None) -> JSONResponse:
    kind = "server_error" if status >= 500 else "invalid_request_error"
    content = {"error": {"message": words, "type": kind, "param": param, "code": code}}
    return JSONResponse(content, status_code=status)
