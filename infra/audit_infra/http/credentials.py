"""Who a request to an API speaks for: credentials come from headers, never from a cookie."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from audit_infra.access import Access, HostTokens, Principal, Unauthenticated
from audit_infra.http.failures import Failures

_READY = "principal_once"


class Credentials:
    """Reads `X-API-Key` and `Authorization: Bearer`. `failures` bounds how often an `address` may fail."""

    def __init__(
        self,
        access: Access,
        tokens: HostTokens,
        clock: Callable[[], datetime],
        *,
        failures: Failures | None = None,
        address: Callable[[Request], str] = lambda _: "",
    ) -> None:
        self._access, self._tokens, self._clock = access, tokens, clock
        self._failures, self._address = failures, address

    async def principal(self, request: Request) -> Principal:
        """Looks the credential up, each time anew: what was revoked or has expired since is refused.

        Raises `Unauthenticated` saying what is wrong, `Forbidden`, `ControlUnavailable`, and the problem 429.
        """
        ready: Principal | None = request.scope.setdefault("state", {}).pop(_READY, None)
        if ready is not None:
            return ready
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        if not secret:
            raise Unauthenticated("send an API key as X-API-Key, or a token as Authorization: Bearer")
        with self._failures.attempt(self._address(request), secret) if self._failures else contextlib.nullcontext():
            if secret.count(".") == 2 and self._tokens.taken:
                return await self._tokens.principal(secret)
            return await run_in_threadpool(self._access.authenticate_key, secret, self._clock())

    async def principal_ahead(self, request: Request) -> Principal:
        """The same, for whoever asks before the request's handler, which then gets this answer once."""
        found = await self.principal(request)
        request.scope["state"][_READY] = found
        return found


__all__ = ["Credentials"]
