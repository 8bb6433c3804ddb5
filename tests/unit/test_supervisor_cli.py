"""The command line tells people what to do in a sentence, never in a stack trace."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def run(
    *arguments: str, program: str = "", settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = ["-c", program] if program else ["-m", "audit_cli"]
    return subprocess.run(
        [sys.executable, *command, *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **(settings or {})},
    )


def test_the_bare_sdk_says_what_to_install() -> None:
    """Without typer the command names the extra, and does not show an import error."""
    answer = run(program="import sys; sys.modules['typer'] = None; from audit_cli.__main__ import main; main()")
    assert answer.returncode == 1
    assert answer.stderr == "audit-log needs more than the SDK: pip install 'workspace-audit-log[local]'\n"


def test_bad_settings_are_listed_and_end_with_the_status_for_configuration() -> None:
    """Supervisors know status 78 (EX_CONFIG) as a fault that waiting does not cure."""
    answer = run("worker", settings={"AUDIT_TOPIC_PREFIX": "9 bad", "AUDIT_FLUSH_MS": "soon"})
    assert answer.returncode == os.EX_CONFIG
    assert "AUDIT_TOPIC_PREFIX" in answer.stderr
    assert "AUDIT_FLUSH_MS" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_a_folder_without_a_stack_is_described_as_such(tmp_path: Path) -> None:
    """`status` and `down` work where nothing ran; `reset` deletes nothing there."""
    folder = ("--data-dir", str(tmp_path))
    assert run("status", *folder).stdout.startswith("No stack has run here yet")
    assert run("down", *folder).stdout == "No stack runs here.\n"
    answer = run("reset", "--yes", *folder)
    assert answer.returncode == 1
    assert answer.stderr == f"audit-log: {tmp_path} is not the data folder of a stack; nothing was deleted\n"
    assert list(tmp_path.iterdir()) == []
