"""The application behind one endpoint: models, completions, chat, and rows for models of tables."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import trio
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.exceptions import HTTPException

from openstall.app.api.guard import BodyTooLarge
from openstall.app.clock import Clock
from openstall.app.endpoint.shapes import Asked, ChatRequest, CompletionRequest, RowsRequest, Shape
from openstall.app.logging import get_logger
from openstall.app.services.orders.serve_buyer import ServeLines
from openstall.compute_agent.serving import Answer, Question, as_question
from openstall.market.errors import Conflict, OpenstallError, PeerError
from openstall.p2p.nurseries import single_errors

_STATUS = {"too_many_open": 429, "bad_question": 400, "not_served": 404, "model_not_found": 404}
_DONE = b"data: [DONE]\n\n"
_GONE = 499
"""The status for a client that has hung up; it does not see it."""

T = TypeVar("T")

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

    async def answer(self, request: Request, question: Question, shape: Shape, body: Asked) -> Response:
        """All at once, or as server-sent events."""
        if body.stream:
            pieces = _pieces(self, question, shape, counts=body.with_usage)
            # a refusal comes as a status, not inside the stream
            first = await _while_there(request, lambda: anext(pieces))
            if first is None:
                return Response(status_code=_GONE)
            return StreamingResponse(_joined(first, pieces), media_type="text/event-stream")
        return await self.whole(request, question, shape)

    async def whole(self, request: Request, question: Question, shape: Shape) -> Response:
        """All at once."""

        async def ask() -> list[Answer]:
            async with self.lines.asking(self.order_id, question) as found:
                return [line async for line in found]

        answered = await _while_there(request, ask)
        if answered is None:
            return Response(status_code=_GONE)
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
    async def completions(request: Request, body: CompletionRequest) -> Response:
        front.check(body.model)
        shape = Shape(chat=False, model=model, created=clock.now())
        return await front.answer(request, body.asked(), shape, body)

    @app.post("/v1/chat/completions")
    async def chat(request: Request, body: ChatRequest) -> Response:
        front.check(body.model)
        shape = Shape(chat=True, model=model, created=clock.now())
        return await front.answer(request, body.asked(), shape, body)

    @app.post("/v1/predictions")
    async def predictions(request: Request, body: RowsRequest) -> Response:
        front.check(body.model)
        question = as_question({"rows": body.rows})
        found = await _while_there(request, lambda: lines.ask(order_id, question))
        if found is None:
            return Response(status_code=_GONE)
        head = {"object": "predictions", "model": model, "classes": [], "scores": []}
        return JSONResponse({**head, **found})

    return app


async def _while_there(request: Request, work: Callable[[], Awaitable[T]]) -> T | None:
    """What the work finds; None where the client hangs up first, which ends the work."""
    found: T | None = None
    with single_errors():
        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await request.receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            found = await work()
            nursery.cancel_scope.cancel()
    return found


async def _pieces(
    front: _Front, question: Question, shape: Shape, *, counts: bool
) -> AsyncGenerator[bytes, None]:
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


async def _joined(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """All of it; what goes wrong on the way is told in the stream, which has begun already."""
    async with aclosing(rest):
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
        code = "invalid_request" if error.status_code == 400 else "no_such_path"
        return _refusal(error.status_code, code, str(error.detail))

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
