"""`audit-log signing-keys`: the keys that manifests are signed with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import typer
from typer.testing import CliRunner, Result

from audit_cli import exporting
from audit_query.exports.keys import KeyProblem

if TYPE_CHECKING:
    from pathlib import Path


def test_keys_are_made_listed_rotated_and_retired(tmp_path: Path) -> None:
    """One signs at a time; making the first one again is refused, or nothing; the last one can't be retired."""
    app = typer.Typer()
    exporting.register(app)
    env = {
        "AUDIT_CONTROL_DATABASE_URL": f"sqlite:///{tmp_path}/control.db",
        "AUDIT_EXPORT_KEYS_DIR": str(tmp_path / "keys"),
    }

    def run(*arguments: str, fails: bool = False) -> Result:
        result = CliRunner().invoke(app, ["signing-keys", *arguments], env=env)
        assert (result.exception is not None) is fails, result.output
        return result

    def listed() -> list[tuple[str, bool]]:
        found = json.loads(run("list", "--json").output)
        assert all(one["public_key_pem"].startswith("-----BEGIN PUBLIC KEY-----") for one in found)
        return [(one["key_id"], one["retired_at"] is not None) for one in found]

    assert run("list").output == "there is no signing key\n"
    run("create")
    ((first, _),) = listed()
    assert isinstance(run("create", fails=True).exception, KeyProblem)
    assert run("create", "--if-none").output == f"{first} signs already\n"
    assert isinstance(run("retire", first, fails=True).exception, KeyProblem)
    assert f"retired {first}" in run("rotate").output
    (second, gone), (old, retired) = listed()
    assert (gone, old, retired) == (False, first, True)
    assert [path.name for path in (tmp_path / "keys").iterdir()] == [f"{second}.pem"]
    lines = run("list").output.splitlines()
    assert lines[0].endswith("signs")
    assert "retired" in lines[1]


def test_the_workers_effective_settings_are_printed() -> None:
    """Without a key, a database or ClickHouse."""
    app = typer.Typer()
    exporting.register(app)
    check = ["export-worker", "--check"]
    printed = CliRunner().invoke(app, check, env={"AUDIT_EXPORT_PART_ROWS": "5"})
    assert json.loads(printed.output)["export_part_rows"] == 5
    assert CliRunner().invoke(app, check, env={"AUDIT_EXPORT_PART_ROWS": "1000001"}).exception is not None
