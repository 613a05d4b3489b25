"""Errors in the OpenAI API's shape, and the middleware that gives them to every failed request."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import orjson
from aiohttp import web

logger = logging.getLogger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class ApiError(Exception):
    """A refused or failed request: `param` names the field at fault, `message` what to change."""

    def __init__(
        self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code

    def body(self) -> bytes:
        kind = {401: "authentication_error", 404: "not_found_error"}.get(
            self.status, "server_error" if self.status >= 500 else "invalid_request_error"
        )
        return orjson.dumps(
            {
                "error": {
                    "message": self.message,
                    "type": kind,
                    "param": self.param,
                    "code": self.code,
                }
            }
        )

    def response(self) -> web.Response:
        return web.Response(status=self.status, body=self.body(), content_type="application/json")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns whatever goes wrong before an answer has begun into one JSON error."""
    try:
        return await handler(request)
    except ApiError as error:
        return error.response()
    except web.HTTPRequestEntityTooLarge:
        limit = f"request body must be at most {request.client_max_size} bytes; send less"
        return ApiError(limit, status=413).response()
    except web.RequestPayloadError:
        where = f"{request.method} {request.path}"
        return ApiError(f"{where}: the body does not fit its Content-Encoding").response()
    except web.HTTPException as error:
        return _of_http(request, error).response()
    except ConnectionError:
        raise  # the client is gone: nobody to tell
    except Exception:
        logger.exception("%s %s failed", request.method, request.path)
        return ApiError(
            "the server failed on this request; its log says why", status=500
        ).response()


def _of_http(request: web.Request, error: web.HTTPException) -> ApiError:
    where = f"{request.method} {request.path}"
    if error.status == 404:
        return ApiError(f"{where} does not exist; see GET /v1/models", status=404)
    if isinstance(error, web.HTTPMethodNotAllowed):
        allowed = ", ".join(sorted(error.allowed_methods))
        return ApiError(f"{where} is not allowed; use {allowed}", status=405)
    return ApiError(f"{where}: {error.reason}", status=error.status)
