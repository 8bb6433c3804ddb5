"""What of a change is a secret: its value is replaced before anything leaves the caller's process."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

REDACTED: Final[Mapping[str, bool]] = {"redacted": True}
"""What stands in the place of a secret: that it changed is known, from what and to what is not."""

SECRET_FIELDS: Final[frozenset[str]] = frozenset(
    [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "client_secret",
        "token",
        "access_token",
        "refresh_token",
        "id_token",
        "api_key",
        "apikey",
        "private_key",
        "signing_key",
        "credential",
        "credentials",
        "authorization",
        "cookie",
        "session_token",
        "mfa_secret",
        "recovery_codes",
        "card_number",
        "cvc",
        "cvv",
        "iban",
        "account_number",
        "ssn",
    ]
)
"""Values of changes at these fields, in any case and at any depth of the path, never leave the caller's process."""

DEEPEST: Final = 100
"""Levels of a value that are looked through; what is nested deeper is refused, since a secret could hide there."""

_BETWEEN_PARTS: Final = re.compile(r"""[./\[\]"']""")


def is_secret_path(path: str, secret_fields: Collection[str] = SECRET_FIELDS) -> bool:
    """Whether a part of the path is a secret field. Parts are separated by `.`, `/` or stand in `[…]`."""
    return any(part in secret_fields for part in _BETWEEN_PARTS.split(path.lower()))


def redacted_change(change: Mapping[str, Any], secret_fields: Collection[str] = SECRET_FIELDS) -> dict[str, Any]:
    """A change without secrets: its values as a whole when its path leads to one, else what is secret inside them.

    None stays: that there was no value is no secret. Raises `ValueError` for values nested deeper than `DEEPEST`.
    """
    secret = is_secret_path(str(change.get("path", "")), secret_fields)
    return {
        key: value
        if key == "path" or value is None
        else dict(REDACTED)
        if secret
        else without_secrets(value, secret_fields)
        for key, value in change.items()
    }


def without_secrets(value: Any, secret_fields: Collection[str] = SECRET_FIELDS, depth: int = 0) -> Any:
    """The value with the secrets inside its objects replaced. Raises `ValueError` beyond `DEEPEST` levels."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if depth > DEEPEST:
        raise ValueError(f"is nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {
            key: dict(REDACTED)
            if isinstance(key, str) and is_secret_path(key, secret_fields)
            else without_secrets(inner, secret_fields, depth + 1)
            for key, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [without_secrets(inner, secret_fields, depth + 1) for inner in value]
    return value


__all__ = ["DEEPEST", "REDACTED", "SECRET_FIELDS", "is_secret_path", "redacted_change", "without_secrets"]
