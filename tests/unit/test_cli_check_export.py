"""`audit-log check-export`: what it prints and ends with, and that it needs nothing but the folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer
from typer.testing import CliRunner, Result

from audit_cli import checking
from tests.support.packs import Pack
from tests.unit.test_bare_install import HEAVY

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    return Pack(tmp_path / "pack")


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    checking.register(app)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_the_status_tells_scripts_what_the_last_line_tells_people(pack: Pack, tmp_path: Path) -> None:
    """0 intact and signed by the trusted key, 1 not intact, 2 signer unknown, 3 not complete."""
    key = pack.trusted(tmp_path)

    def told(*arguments: str | Path) -> tuple[int, str]:
        done = run(pack.folder, *arguments)
        assert done.stderr == ""
        return done.exit_code, done.stdout.splitlines()[-1]

    assert told("--key", key) == (0, "intact, signed by k1")
    assert told() == (2, "intact, signer not verified")
    assert "7 rows in 3 parts, " in run(pack.folder).stdout
    pack.manifest["outcome"] = "cancelled"
    pack.sign()
    assert told("--key", key) == (3, "intact, signed by k1, but not complete: the export ended as cancelled")
    assert told() == (3, "intact, signer not verified, but not complete: the export ended as cancelled")
    pack.file(2).unlink()
    (pack.folder / "more").touch()
    assert told("--key", key) == (1, "not intact: 2 faults")
    assert told() == (1, "not intact: 2 faults")
    assert run(pack.folder).stdout.splitlines()[0] == f"part 2 ({pack.file(2).name}): is missing"


def test_wrong_usage_has_a_status_of_its_own(pack: Pack, tmp_path: Path) -> None:
    """64 and a sentence, never 2, which says something about an export."""
    no_key = tmp_path / "no.pem"
    no_key.write_text("hello")
    for arguments, why in (
        ((tmp_path / "none",), "No such file"),
        ((no_key,), "Not a directory"),
        ((tmp_path,), "there is no manifest.json, so this is no export"),
        ((pack.folder, "--key", no_key), "no.pem is not a public key in PEM"),
        ((pack.folder, "--key", tmp_path / "none"), "No such file"),
        ((pack.folder, "--key", tmp_path), "Is a directory"),
        ((pack.folder, "--colour"), "--colour"),
        ((pack.folder, "another"), "another"),
        ((), "folder"),
    ):
        done = run(*arguments)
        assert (done.exit_code, done.stdout) == (64, ""), arguments
        assert why in done.stderr
    assert run("--help").exit_code == 0


def test_machines_get_the_report_as_ascii(pack: Pack) -> None:
    """With the same status."""
    (pack.folder / "\u202egpj.exe").touch()
    done = run(pack.folder, "--json")
    assert done.exit_code == 1
    assert done.stdout.isascii()
    assert json.loads(done.stdout)["faults"][0]["file"] == "\u202egpj.exe"


def test_no_name_in_a_pack_takes_the_terminal_over(pack: Pack) -> None:
    """Escapes and marks that turn the direction of text are shown, not obeyed, also those of bytes that are no text."""
    (pack.folder / "\x1b]0;gone\x07\u202e").touch()
    (pack.folder / b"\xff\n".decode(errors="surrogateescape")).touch()
    pack.manifest["export_id"] = "\x1b[2J"
    pack.sign()
    shown = run(pack.folder).stdout
    assert "\\x1b]0;gone\\x07\\u202e: was added" in shown
    assert "\\udcff\\x0a: was added" in shown
    assert "\x1b" not in shown


def test_the_check_loads_no_driver_framework_or_server(pack: Pack) -> None:
    """In a process of its own, with no setting; an auditor installs as little as that."""
    script = (
        "import sys\n"
        "from audit_cli.__main__ import main\n"
        "sys.argv[1:] = ['check-export', sys.argv[1]]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    print(end.code, *sorted({name.partition('.')[0] for name in sys.modules}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(pack.folder)], capture_output=True, text=True, check=True, env={}
    )
    status, *names = done.stdout.splitlines()[-1].split()
    assert status == "2"
    assert set(names) & (HEAVY - {"typer", "audit_query", "audit_cli"}) == set()


def test_the_help_names_every_status(pack: Pack) -> None:
    """As the document does."""
    shown = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", run("--help").stdout).split())
    for status in ("Status 0:", "1:", "2:", "3:", "64:"):
        assert status in shown
