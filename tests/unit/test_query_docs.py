"""`docs/query-api.md` says what the code does."""

from __future__ import annotations

from pathlib import Path

import audit_query
from audit_infra import http as shared
from audit_producers import ProducerSettings
from audit_query import following
from audit_query.exports.csv_columns import COLUMNS
from audit_query.exports.download import COLUMNS as COLUMNS_PARAMETER
from audit_query.exports.download import PARAMETERS as EXPORT_PARAMETERS
from audit_query.filters import PAGING, PARAMETERS, RANGE
from audit_query.openapi import PATHS
from audit_query.problems import TYPES
from audit_query.settings import QuerySettings
from tests.support.problems import described_in, types_made_in

DOCS = Path(__file__).parents[2] / "docs" / "query-api.md"


def test_everything_a_caller_can_use_is_described() -> None:
    """Addresses, parameters, columns in their order, and settings."""
    text = DOCS.read_text("utf-8")
    wanted = {*(one.name for one in PARAMETERS), *RANGE, *PAGING, *following.PARAMETERS}
    wanted |= {*EXPORT_PARAMETERS, COLUMNS_PARAMETER}
    # Those of the producer are described with the SDK.
    wanted |= {f"AUDIT_{name.upper()}" for name in QuerySettings.model_fields.keys() - ProducerSettings.model_fields}
    assert {name for name in wanted if f"`{name}`" not in text and f"`{name}<key>`" not in text} == set()
    assert {path for path in PATHS if path not in text} == set()
    assert ", ".join(column.header for column in COLUMNS) in text


def test_every_type_of_problem_is_described() -> None:
    """What the code can answer stands in one table, and in the document, no more and no fewer."""
    assert set(TYPES) == types_made_in(audit_query, shared)
    assert len({kind.name for kind in TYPES}) == len(TYPES)
    assert described_in(DOCS) == {(kind.name, kind.status) for kind in TYPES}
