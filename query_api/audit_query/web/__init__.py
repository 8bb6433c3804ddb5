"""The audit-log page: server-rendered, complete without JavaScript, every state in the URL."""

from audit_query.web.pages import Web

__all__ = ["Web"]
