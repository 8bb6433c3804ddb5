"""What is signed here and comes back: the page's session cookie, form tokens, cursors."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from datetime import datetime, timedelta

from audit_infra.access.principal import Principal, Unauthenticated

SESSION = timedelta(hours=12)
_SALT = 12


class Signer:
    """Signs small values with the newest key and accepts those of all keys, so that keys can be rotated."""

    def __init__(self, keys: Sequence[str], purpose: str) -> None:
        if not keys:
            raise ValueError("at least one signing key is needed")
        self._keys = [hashlib.sha256(f"{purpose}:{key}".encode()).digest() for key in keys]

    def sign(self, body: bytes) -> str:
        """URL-safe text that holds the body and its proof."""
        return _text(hmac.digest(self._keys[0], body, "sha256")[:16] + body)

    def verify(self, text: str) -> bytes:
        """The body. Raises `ValueError` when it was not signed by one of the keys for this purpose."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except ValueError:
            raise ValueError("is not signed text") from None
        proof, body = raw[:16], raw[16:]
        if not any(hmac.compare_digest(hmac.digest(key, body, "sha256")[:16], proof) for key in self._keys):
            raise ValueError("was not signed here")
        return body


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


class Sessions:
    """The page's cookie: who is signed in, signed, for twelve hours."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._signer = Signer(keys, "session")
        self._forms = Signer(keys, "form")

    def cookie(self, principal: Principal, now: datetime) -> str:
        """The cookie's value."""
        body = {
            "w": principal.workspace_id,
            "s": principal.subject,
            "n": principal.name,
            "e": principal.email,
            "c": sorted(principal.scopes),
            "x": int((now + SESSION).timestamp()),
        }
        return self._signer.sign(json.dumps(body, separators=(",", ":")).encode())

    def principal(self, cookie: str, now: datetime) -> Principal:
        """Raises `Unauthenticated` for a cookie that is not ours or has expired."""
        try:
            body = json.loads(self._signer.verify(cookie))
        except ValueError:
            raise Unauthenticated("the session is not valid") from None
        if body["x"] <= now.timestamp():
            raise Unauthenticated("the session has expired")
        return Principal(
            workspace_id=body["w"],
            kind="user",
            subject=body["s"],
            name=body["n"],
            email=body["e"],
            scopes=frozenset(body["c"]),
        )

    def form_token(self, cookie: str) -> str:
        """A token for the forms of this session, which another site can't know.

        Another text each time: packed answers of nearly the same length could otherwise tell it letter by letter.
        """
        return self._forms.sign(secrets.token_bytes(_SALT) + hashlib.sha256(cookie.encode()).digest()[:12])

    def form_is_ours(self, cookie: str, token: str) -> bool:
        """Whether a form was made for this session."""
        try:
            return hmac.compare_digest(self._forms.verify(token)[_SALT:], hashlib.sha256(cookie.encode()).digest()[:12])
        except ValueError:
            return False


__all__ = ["SESSION", "Sessions", "Signer"]
