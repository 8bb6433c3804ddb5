"""Signing in and out, coming back to where one wanted to go, and picking a time zone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from audit_infra.access import Access, AccessError, HostTokens, Principal, Sessions, Unauthenticated
from audit_infra.http.failures import Failures
from audit_infra.http.problems import Fault, invalid
from audit_query.times import zone_of
from audit_query.web.address import PATH
from audit_query.web.messages import say
from audit_query.web.rendering import COOKIE, HEADERS, ZONE_COOKIE

_RETURN: Final = "audit_return"
_RETURN_S: Final = 900
_YEAR_S: Final = 31_536_000
_PLACES: Final = (f"{PATH}/events/", f"{PATH}/exports")
_LONGEST_RETURN: Final = 3000  # a cookie holds 4096 bytes
_FORM: Final = {"max_files": 0, "max_fields": 10, "max_part_size": 16_384}
"""What a form of the page, or one with a token, may hold; anybody can send one."""


class Session:
    """Who looks is told by a cookie, which is never taken as a credential of the API."""

    def __init__(
        self,
        access: Access,
        sessions: Sessions,
        tokens: HostTokens,
        failures: Failures,
        address: Callable[[Request], str],
        clock: Callable[[], datetime],
    ) -> None:
        self._access, self._sessions, self._tokens = access, sessions, tokens
        self._failures, self._address, self._clock = failures, address, clock

    def principal(self, request: Request) -> Principal:
        """Raises `Unauthenticated`."""
        cookie = request.cookies.get(COOKIE)
        if not cookie:
            raise Unauthenticated(say("not_signed_in"))
        return self._sessions.principal(cookie, self._clock())

    def remember(self, request: Request, answer: Response) -> None:
        """Where somebody wanted to go who must sign in first."""
        wanted = own_path(f"{request.url.path}?{request.url.query}" if request.url.query else request.url.path)
        if request.method == "GET" and wanted and len(wanted) <= _LONGEST_RETURN:
            answer.set_cookie(_RETURN, wanted, max_age=_RETURN_S, httponly=True, samesite="lax", secure=_https(request))

    async def sign_in(self, request: Request) -> Response:
        """Turns a code into a session and leaves the code behind."""
        code = request.query_params.get("code", "")
        with self._failures.attempt(self._address(request), code):
            principal = await run_in_threadpool(self._access.redeem_sign_in_code, code, self._clock())
        answer = self.signed_in(request, principal, request.cookies.get(_RETURN, ""))
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer

    async def post(self, request: Request) -> Response:
        """The host product posts a token of its own, and where to go; a token in an address is never taken."""
        form = await request.form(**_FORM)
        token = str(form.get("token", ""))
        with self._failures.attempt(self._address(request), token):
            principal = await self._tokens.principal(token)
        return self.signed_in(request, principal, str(form.get("return_to", "")) or request.cookies.get(_RETURN, ""))

    def signed_in(self, request: Request, principal: Principal, wanted: str = "") -> Response:
        """Sets the cookie and leads to where somebody wanted to go, as far as that is the page's own."""
        answer = RedirectResponse(own_path(wanted) or PATH, 303, headers=dict(HEADERS))
        answer.delete_cookie(_RETURN)
        cookie = self._sessions.cookie(principal, self._clock())
        answer.set_cookie(COOKIE, cookie, httponly=True, samesite="lax", secure=_https(request), path="/")
        return answer

    async def sign_out(self, request: Request) -> Response:
        """Ends the session."""
        await self.own_form(request)
        answer = RedirectResponse(PATH, 303, headers=dict(HEADERS))
        answer.delete_cookie(COOKIE, path="/")
        return answer

    async def zone(self, request: Request) -> Response:
        """Picks a time zone and remembers it; an empty one leaves it to the browser again."""
        form = await self.own_form(request)
        name = str(form.get("zone", "")).strip()
        answer = RedirectResponse(own_path(str(form.get("back", ""))) or PATH, 303, headers=dict(HEADERS))
        if not name:
            answer.delete_cookie(ZONE_COOKIE, path="/")
            return answer
        try:
            zone = zone_of(name)
        except ValueError as error:
            raise invalid((Fault("zone", "unknown_zone", str(error)),)) from None
        answer.set_cookie(ZONE_COOKIE, zone.key, max_age=_YEAR_S, samesite="lax", secure=_https(request), path="/")
        return answer

    async def own_form(self, request: Request, most_fields: int = 10) -> FormData:
        """Only a form this page made, posted from this page. Raises `AccessError`."""
        form = await request.form(**{**_FORM, "max_fields": most_fields})
        cookie = request.cookies.get(COOKIE, "")
        origin = request.headers.get("origin", "")
        site = request.headers.get("sec-fetch-site", "same-origin" if origin else "")
        same = site == "same-origin" and (not origin or urlsplit(origin).netloc == request.url.netloc)
        if not same or not self._sessions.form_is_ours(cookie, str(form.get("form_token", ""))):
            raise AccessError(say("foreign_form"))
        return form


def own_path(text: str) -> str:
    """The reference when it leads to the page itself, else nothing: nobody is sent elsewhere."""
    # Before it is taken apart: `///audit-log` has no host for Python, but one for browsers, and `//[` is no address.
    if not text.startswith(PATH):
        return ""
    parts = urlsplit(text)
    known = parts.path == PATH or parts.path.startswith(_PLACES)
    # What browsers read otherwise than Python does is no reference of ours.
    odd = parts.scheme or parts.netloc or any(mark in text for mark in ("\\", "\r", "\n", "\t", ".."))
    return text if known and not odd else ""


def _https(request: Request) -> bool:
    return request.url.scheme == "https"


__all__ = ["Session", "own_path"]
