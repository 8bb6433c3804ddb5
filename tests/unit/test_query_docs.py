"""`docs/query-api.md` says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from audit_query.export import COLUMNS
from audit_query.filters import PAGING, PARAMETERS, RANGE
from audit_query.openapi import PATHS
from audit_query.service import CSV_PARAMETERS
from audit_query.settings import QuerySettings

DOCS = Path(__file__).parents[2] / "docs" / "query-api.md"
SOURCES = Path(__file__).parents[2] / "query_api" / "audit_query"
SHARED = Path(__file__).parents[2] / "infra" / "audit_infra" / "http"


def test_everything_a_caller_can_use_is_described() -> None:
    """Addresses, parameters, columns in their order, and settings."""
    text = DOCS.read_text("utf-8")
    wanted = {*(one.name for one in PARAMETERS), *RANGE, *PAGING, *CSV_PARAMETERS} - {"format"}
    wanted |= {f"AUDIT_{name.upper()}" for name in QuerySettings.model_fields}
    assert {name for name in wanted if f"`{name}`" not in text} == set()
    assert {path for path in PATHS if path not in text} == set()
    assert ", ".join(column.header for column in COLUMNS) in text


def test_every_type_of_problem_is_described() -> None:
    """The stable types stand in one table, no more and no fewer."""
    described = set(re.findall(r"urn:audit-log:problem:([a-z-]+)", DOCS.read_text("utf-8")))
    code = "\n".join(path.read_text("utf-8") for folder in (SOURCES, SHARED) for path in folder.glob("*.py"))
    raised = set(re.findall(r"ProblemError\(\s*\d+,\s*\"([a-z-]+)\"", code))
    raised |= set(re.findall(r"\d+: \(\"([a-z-]+)\"", code))
    assert described == raised
