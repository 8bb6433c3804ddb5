"""The native event types: what may happen in a workspace, under which name, label and category.

The data is `types.toml`; the page, the filters, the SDK and `docs/catalogue.md` are made from it.
"""

from audit_schemas.catalogue.loader import Catalogue, CatalogueError, EventType, load, parse
from audit_schemas.catalogue.names import NativeEventType

__all__ = ["Catalogue", "CatalogueError", "EventType", "NativeEventType", "load", "parse"]
