"""Errors as the local API answers them: `{"error": {"code", "message", "what_next"}}`."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from openstall.app.api.guard import MAX_BODY_BYTES, BodyTooLarge
from openstall.app.logging import get_logger
from openstall.market import errors

STATUS: dict[type[errors.OpenstallError], int] = {
    errors.NotFound: 404,
    errors.Refused: 403,
    errors.Conflict: 409,
    errors.InvalidRecord: 422,
    errors.InvalidOrder: 422,
    errors.MoneyError: 422,
    errors.IdentityError: 409,
    errors.SandboxError: 409,
    errors.PeerError: 502,
    errors.ChainError: 502,
    errors.StoreError: 507,
}

log = get_logger("openstall.api")


def install(app: FastAPI) -> None:
    """Teach the application to answer every failure in the one form."""
    app.add_exception_handler(errors.OpenstallError, _known)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(BodyTooLarge, _too_large)
    app.add_exception_handler(Exception, _bug)


def answer(status: int, code: str, message: str, what_next: str = "") -> JSONResponse:
    """The one form."""
    content = {"error": {"code": code, "message": message, "what_next": what_next}}
    return JSONResponse(content, status_code=status)


async def _known(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, errors.OpenstallError):
        raise error
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 400)
    return answer(status, error.code, error.message, error.what_next)


async def _invalid(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise error
    # Only where and what: the input itself may be a passphrase or words.
    found = [
        f"{'.'.join(str(part) for part in one['loc'][1:]) or 'the request'}: {one['msg']}"
        for one in error.errors()[:5]
    ]
    return answer(422, "invalid_request", "The request cannot be understood: " + "; ".join(found))


async def _http(_request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, HTTPException):
        raise error
    if isinstance(error.__cause__, BodyTooLarge):  # FastAPI wraps whatever reading the body raised
        return await _too_large(_request, error)
    codes = {404: "no_such_path", 405: "wrong_method", 400: "bad_request"}
    return answer(error.status_code, codes.get(error.status_code, "http_error"), str(error.detail))


async def _too_large(_request: Request, _error: Exception) -> JSONResponse:
    refusal = answer(413, "too_large", f"A request may have {MAX_BODY_BYTES} bytes.")
    # The server ends a connection with an unread rest; a client that is not told asks the next thing there.
    refusal.headers["connection"] = "close"
    return refusal


async def _bug(request: Request, error: Exception) -> JSONResponse:
    log.error("request crashed", path=request.url.path, exc_info=error)
    return answer(
        500,
        "internal_error",
        "Something went wrong inside the node.",
        "The log of the node has the details.",
    )
