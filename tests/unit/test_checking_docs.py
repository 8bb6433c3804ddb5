"""`docs/checking-exports.md` says what the two commands take, find and end with."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import get_args

import pytest
import typer

from audit_cli import checking, fetching
from audit_query.exports.checking import Verdict
from audit_query.exports.checking.report import Kind, Report
from audit_query.exports.readme import readme

DOCS = Path(__file__).parents[2] / "docs" / "checking-exports.md"


@pytest.fixture(scope="module")
def text() -> str:
    return DOCS.read_text("utf-8")


def test_every_option_is_described_and_no_other(text: str) -> None:
    """Those of both commands."""
    app = typer.Typer()
    fetching.register(app)
    checking.register(app)
    group = typer.main.get_command(app)
    commands = group.commands.values()  # type: ignore[attr-defined]  # the library names no type for a group
    options = {name for one in commands for option in one.params for name in option.opts if name.startswith("--")}
    assert set(re.findall(r"`(--[a-z-]+)`", text)) == options - {"--install-completion", "--show-completion"}


def test_every_status_kind_and_verdict_is_described(text: str) -> None:
    """With the number that scripts see."""
    _, _, about_checks = text.partition("## Check")
    statuses = {int(found) for found in re.findall(r"^\| (\d+) \|", about_checks, re.MULTILINE)}
    assert statuses == {checking.status(verdict) for verdict in Verdict} | {checking.UNUSABLE}
    kinds = {kind for line in about_checks.splitlines() for kind in re.findall(r"`([a-z]+)`", line.split(" | ")[0])}
    assert set(get_args(Kind)) <= kinds
    assert all(f"`{verdict.name.lower()}`" in about_checks for verdict in Verdict)
    assert all(f"`{name}`" in about_checks for name in Report(()).as_json())


def test_the_readme_of_a_format_version_never_changes() -> None:
    """Packs are out in the world: with another text, `check-export` would call every README of theirs edited.

    A better text needs the old one beside it: `check` then takes both.
    """
    parts = [{"file": f"audit-log-w1-x-part-0000{number}.csv.gz"} for number in (1, 2)]
    manifest: dict[str, object] = {"workspace_id": "w1", "export_id": "x", "outcome": "cancelled"}
    manifest |= {"filter": {"words": "Event is A"}, "parts": parts, "totals": {"rows": 7, "parts": 2}}
    manifest |= {"finished_at": "2026-03-14T12:00:00.000Z", "signing_key": {"key_id": "k1"}}
    made = [manifest | {"output": {"format": format_}} for format_ in ("csv", "ndjson", "parquet")]
    texts = "".join(readme(json.dumps(one).encode()) for one in made)
    assert hashlib.sha256(texts.encode()).hexdigest() == (
        "5907f07c747442845f45bca079ddddb8ffad8664af7225fbedfae20f7b9a8c16"
    )
