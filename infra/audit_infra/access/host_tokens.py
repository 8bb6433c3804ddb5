"""The host product's tokens: one object that says who a JWT speaks for, for the APIs and the page alike."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, Final

import jwt

from audit_infra.access.jwks import IssuerKeys
from audit_infra.access.principal import PAGE_SCOPES, AccessError, Forbidden, Principal, Scope, Unauthenticated
from audit_infra.access.store import Access
from audit_infra.settings import TokenSettings

LONGEST: Final = timedelta(minutes=15)
"""How far ahead a token may expire."""
SKEW: Final = timedelta(seconds=30)
"""How far the issuer's clock may be ahead of ours for `nbf`."""
_SUBJECT: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,128}")
_MAX_NAME, _MAX_EMAIL = 256, 320


class HostTokens:
    """Verifies tokens by a shared secret (HS256), or by the public keys of an issuer with pinned algorithms.

    Required: `iss` and `aud` as set, `exp` at most 15 minutes ahead, `workspace`, `sub`. Optional: `nbf`, `name`,
    `email`, `scopes`. Belongs to one event loop.
    """

    def __init__(self, settings: TokenSettings, access: Access, clock: Callable[[], datetime]) -> None:
        self._settings, self._access, self._clock = settings, access, clock
        self._secret = settings.jwt_secret.get_secret_value()
        self._keys = None
        if settings.jwks_url:
            self._keys = IssuerKeys(
                settings.jwks_url,
                settings.algorithms,
                clock,
                max_age_s=settings.jwks_max_age_s,
                refetch_s=settings.jwks_refetch_s,
                timeout_s=settings.jwks_timeout_s,
            )

    @property
    def taken(self) -> bool:
        """Whether tokens are taken at all."""
        return bool(self._secret) or self._keys is not None

    async def principal(self, token: str) -> Principal:
        """Who the token speaks for.

        Raises `Unauthenticated` saying what is wrong, `Forbidden` for an unknown workspace, and `ControlUnavailable`.
        """
        if not self.taken:
            raise Unauthenticated("tokens are not taken here")
        principal = _principal_of(await self._claims(token), self._clock())
        try:
            await asyncio.to_thread(self._access.get_workspace, principal.workspace_id)
        except AccessError as error:
            raise Forbidden(str(error)) from None
        return principal

    async def _claims(self, token: str) -> dict[str, Any]:
        try:
            if self._keys is None:
                key: str | jwt.PyJWK = self._secret
                algorithms: tuple[str, ...] = ("HS256",)
            else:
                header = jwt.get_unverified_header(token)
                if header.get("alg") not in self._settings.algorithms or not isinstance(header.get("kid"), str):
                    text = f"it must name its key as kid, and one of {', '.join(self._settings.algorithms)} as alg"
                    raise Unauthenticated(f"the token is not valid: {text}")
                key, algorithms = await self._keys.key(header["kid"]), self._settings.algorithms
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=list(algorithms),
                audience=self._settings.jwt_audience,
                issuer=self._settings.jwt_issuer,
                # Instants are compared with the clock that was given. When a token was issued says nothing.
                options={
                    "require": ["exp", "iss", "aud", "sub", "workspace"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except (jwt.InvalidTokenError, jwt.InvalidKeyError) as error:
            raise Unauthenticated(f"the token is not valid: {error}") from None
        return claims


def _principal_of(claims: dict[str, Any], now: datetime) -> Principal:
    expires, begins = _seconds(claims, "exp"), _seconds(claims, "nbf")
    scopes, workspace, subject = claims.get("scopes"), claims["workspace"], claims["sub"]
    if not (scopes is None or (isinstance(scopes, list) and all(isinstance(one, str) for one in scopes))):
        raise Unauthenticated("the token is not valid: scopes must be a list of text")
    if not (isinstance(workspace, str) and isinstance(subject, str)):
        raise Unauthenticated("the token is not valid: workspace and sub must be text")
    if not _SUBJECT.fullmatch(subject):
        raise Unauthenticated("the token is not valid: sub must have 1 to 128 characters")
    if expires is None or expires <= now.timestamp():
        raise Unauthenticated("the token has expired")
    if expires > (now + LONGEST).timestamp():
        raise Unauthenticated("the token is valid for more than 15 minutes")
    if begins is not None and begins > (now + SKEW).timestamp():
        raise Unauthenticated("the token is not valid yet")
    return Principal(
        workspace_id=workspace,
        kind="user",
        subject=subject,
        name=str(claims.get("name", ""))[:_MAX_NAME],
        email=str(claims.get("email", ""))[:_MAX_EMAIL],
        scopes=PAGE_SCOPES if scopes is None else frozenset(scopes) & frozenset(Scope),
    )


def _seconds(claims: dict[str, Any], name: str) -> float | None:
    found = claims.get(name)
    if found is None:
        return None
    # Not a truth value, which is a number too; and nothing that no clock can tell, such as 1e999 or NaN.
    if isinstance(found, bool) or not isinstance(found, int | float) or not abs(found) < 1e12:
        raise Unauthenticated(f"the token is not valid: {name} must be a number of seconds")
    return float(found)


__all__ = ["LONGEST", "SKEW", "HostTokens"]
