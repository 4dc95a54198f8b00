"""Knows what is answered where no page can be made: an address that is none, and tokens that cannot be read."""

from __future__ import annotations

import logging
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hsm_verifier.admin.tokens import TokenError

_log = logging.getLogger("hsm_verifier")


async def _no_such_page(_request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return Response("no such page\n", status, media_type="text/plain")


async def _no_tokens(_request: Request, error: Exception) -> Response:
    _log.warning("admin page: admin.tokens: %s", error)  # which a stranger does not hear
    return Response("the file of tokens cannot be used (admin.tokens)\n", 503, media_type="text/plain")


HANDLERS: dict[Any, Any] = {HTTPException: _no_such_page, TokenError: _no_tokens}
"""By the exception that leaves an endpoint, as Starlette wants them."""
