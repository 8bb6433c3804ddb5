"""Who a request to an API speaks for: credentials come from headers, never from a cookie."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from audit_infra.access import Access, Principal, Unauthenticated, principal_of_jwt


class Credentials:
    """Reads `X-API-Key` and `Authorization: Bearer`. An empty `jwt_secret` takes no tokens."""

    def __init__(self, access: Access, jwt_secret: str, clock: Callable[[], datetime]) -> None:
        self._access, self._jwt_secret, self._clock = access, jwt_secret, clock

    async def principal(self, request: Request) -> Principal:
        """Raises `Unauthenticated` saying what is wrong."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        secret = request.headers.get("x-api-key") or (token if scheme.lower() == "bearer" else "")
        if not secret:
            raise Unauthenticated("send an API key as X-API-Key, or a token as Authorization: Bearer")
        if secret.count(".") == 2 and self._jwt_secret:
            return principal_of_jwt(secret, self._jwt_secret, self._clock())
        return await run_in_threadpool(self._access.authenticate_key, secret, self._clock())


__all__ = ["Credentials"]
