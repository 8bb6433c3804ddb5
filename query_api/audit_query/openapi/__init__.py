"""The API's description: OpenAPI 3.1 and the reference for people, both made of the table in `operations`."""

from audit_query.openapi.document import document
from audit_query.openapi.operations import OPERATIONS, PATHS

__all__ = ["OPERATIONS", "PATHS", "document"]
