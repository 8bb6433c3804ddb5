"""What the page asks the service beside its table: the names behind a filter's values, and how counts are told."""

from __future__ import annotations

from typing import Final

from audit_infra.access import Principal
from audit_query.facets import Facet, Facets
from audit_query.filters import Params
from audit_query.web.address import Address
from audit_query.web.chips import Names
from audit_query.web.messages import say
from audit_query.web.viewer import Viewer

LONGEST_SEARCH: Final = 200
_LOOK_UPS: Final = 5
"""Chosen users and targets whose names are looked up where no shown event has them; more are shown by their id."""


def asked(address: Address, viewer: Viewer) -> Params:
    """The filters as the service takes them. Dates on the page are the viewer's days."""
    names = {name for name, _ in address.filters}
    dated = names & {"since", "until"} and "tz" not in names
    return [*address.filters, ("tz", viewer.zone.key)] if dated else address.filters


async def look_up(facets: Facets, principal: Principal, address: Address, names: Names) -> None:
    """The names of what is filtered by, where no shown event tells them."""
    for name, facet, known in (
        ("user", facets.users, names.users),
        ("target", facets.targets, names.targets),
    ):
        for value in names.unknown(name, address.filters)[:_LOOK_UPS]:
            search = (value.partition(":")[2] or value)[:LONGEST_SEARCH]
            found = (await facet(principal, [("search", search)])).rows if search else []
            known |= {one["value"]: one["name"] for one in found if one["value"] == value and one["name"]}


def note(facet: Facet | None) -> str:
    """How far counts can be relied on, where that is not wholly."""
    if facet is None or (facet.exact and facet.scope == "filtered"):
        return ""
    return say("counts_window" if facet.scope == "window" else "counts_newest")


__all__ = ["LONGEST_SEARCH", "asked", "look_up", "note"]
