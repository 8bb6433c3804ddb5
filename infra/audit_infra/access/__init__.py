"""Who may do what: workspaces and plans, API keys, sign-in codes, tokens and sessions.

Access reports what happened; its caller emits the audit event.
"""

from audit_infra.access.host_tokens import HostTokens
from audit_infra.access.principal import (
    FULL_PLANS,
    PAGE_SCOPES,
    PLANS,
    AccessError,
    ControlUnavailable,
    Forbidden,
    Principal,
    Scope,
    Unauthenticated,
)
from audit_infra.access.store import Access, ApiKey, NewKey, Workspace
from audit_infra.access.tokens import Sessions, Signer

__all__ = [
    "FULL_PLANS",
    "PAGE_SCOPES",
    "PLANS",
    "Access",
    "AccessError",
    "ApiKey",
    "ControlUnavailable",
    "Forbidden",
    "HostTokens",
    "NewKey",
    "Principal",
    "Scope",
    "Sessions",
    "Signer",
    "Unauthenticated",
    "Workspace",
]
