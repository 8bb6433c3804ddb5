"""The audit-log page: server-rendered, complete without JavaScript, every state in the URL."""

from audit_query.web.pages import COOKIE, Web

__all__ = ["COOKIE", "Web"]
