"""Who asks: the one value every credential turns into."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from audit_schemas.errors import AuditError, Transient


class Scope(StrEnum):
    """What a credential allows."""

    READ = "audit:read"
    PII = "audit:pii"
    EXPORT = "audit:export"
    WRITE = "audit:write"
    ADMIN = "audit:admin"


PAGE_SCOPES: frozenset[str] = frozenset({Scope.READ, Scope.PII, Scope.EXPORT})
"""What the page's default role allows."""
FULL_PLANS = frozenset({"advanced", "enterprise"})
PLANS = ("free", "starter", "professional", "advanced", "enterprise")


class AccessError(AuditError):
    """The credential or the request for one is no good. The text is for the caller and holds no secret."""


class Unauthenticated(AccessError):
    """No credential, or one that is unknown, expired or revoked."""


class Forbidden(AccessError):
    """The credential is good but does not allow this."""


class ControlUnavailable(Transient):
    """Workspaces and keys can't be read now: whoever asks should try again."""


@dataclass(frozen=True, slots=True)
class Principal:
    """The workspace always comes from here, never from the request.

    `credential_prefix` is the visible beginning of an API key; empty for people.
    """

    workspace_id: str
    kind: Literal["key", "user"]
    subject: str
    name: str = ""
    email: str = ""
    scopes: frozenset[str] = frozenset()
    app_id: str = ""
    credential_prefix: str = ""

    def may(self, scope: Scope) -> bool:
        """Whether the scope is granted."""
        return scope in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises `Forbidden` naming the missing scope."""
        if scope not in self.scopes:
            raise Forbidden(f"this needs the scope {scope}")


__all__ = [
    "FULL_PLANS",
    "PAGE_SCOPES",
    "PLANS",
    "AccessError",
    "ControlUnavailable",
    "Forbidden",
    "Principal",
    "Scope",
    "Unauthenticated",
]
