"""Knows how a form comes in: small, each field once, and from a page of ours."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from hsm_verifier.app import Gone, Incoming, read_body
from hsm_verifier.refusal import Refusal

MAX_FORM = 4096  # bytes
MAX_FIELDS = 20


def same_origin(request: Request, *, tls: bool) -> bool:
    """Tell whether a page of ours sent this: browsers say from where every POST comes (Fetch standard, Origin)."""
    if request.headers.get("sec-fetch-site", "same-origin") != "same-origin":
        return False
    return request.headers.get("origin", "") == f"{'https' if tls else 'http'}://{request.headers.get('host', '')}"


async def read_form(request: Request) -> dict[str, str]:
    """Read a form's fields, each once. A body that is no small form is an empty one: its ticket is missing then."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        return {}
    try:
        body = await read_body(Incoming("", tuple(request.headers.raw), request.receive), MAX_FORM)
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FIELDS))
    except (Refusal, Gone, ValueError):
        return {}
