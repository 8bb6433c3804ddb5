"""The event types of the product itself."""

from __future__ import annotations

import json

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from audit_infra.http.credentials import Credentials
from audit_infra.http.etag import tagged
from audit_infra.http.problems import refuse_parameters
from audit_query.service import Service


class CatalogueApi:
    """The handlers."""

    def __init__(self, service: Service, credentials: Credentials) -> None:
        self._service, self._principal = service, credentials.principal

    async def catalogue(self, request: Request) -> Response:
        await self._principal(request)
        refuse_parameters(request.query_params.keys())
        catalogue = self._service.catalogue
        types = [
            {
                "name": one.name,
                "label": one.label,
                "category": one.category,
                "since": one.since,
                "targets": list(one.targets),
                "changes_required": one.changes_required,
                "ocsf": {"class": one.ocsf[0], "activity": one.ocsf[1]},
            }
            for one in catalogue
        ]
        categories = [{"name": name, "label": label} for name, label in catalogue.category_labels.items()]
        found = {"data": {"categories": categories, "types": types}}
        return tagged(request, json.dumps(found, ensure_ascii=False).encode(), "application/json")

    def routes(self) -> list[Route]:
        """The routes."""
        return [
            Route("/v1/catalogue", self.catalogue),
        ]


__all__ = ["CatalogueApi"]
