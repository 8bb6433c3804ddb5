"""What a stack keeps in its folder, and how others see whether it runs."""

from __future__ import annotations

import io
import json
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from audit_local import report
from audit_local.data_folder import DataFolder, StackState, WorkspaceAccess
from audit_local.errors import LocalStackError
from audit_local.log_lines import LogLines
from audit_local.units import ProcessView, State
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

STATE = StackState(
    ready=True,
    addresses={"query_api": "http://127.0.0.1:8080", "events_api": None, "kafka": "127.0.0.1:9092", "clickhouse": None},
    processes=(ProcessView("kafka", 4711, State.READY), ProcessView("worker", None, State.RESTARTING)),
    workspaces=(WorkspaceAccess("w", "starter", "key", "app key", "http://127.0.0.1:8080/audit-log/sign-in?code=c"),),
)


def test_the_status_file_has_the_published_shape_and_reads_back() -> None:
    """`status --json` is an interface: names and nesting are fixed."""
    assert StackState.from_json(STATE.to_json()) == STATE
    assert json.loads(STATE.to_json()) == {
        "ready": True,
        "addresses": {
            "query_api": "http://127.0.0.1:8080",
            "events_api": None,
            "kafka": "127.0.0.1:9092",
            "clickhouse": None,
        },
        "processes": [
            {"name": "kafka", "pid": 4711, "state": "ready"},
            {"name": "worker", "pid": None, "state": "restarting"},
        ],
        "workspaces": [
            {
                "id": "w",
                "plan": "starter",
                "api_key": "key",
                "app_key": "app key",
                "sign_in_url": "http://127.0.0.1:8080/audit-log/sign-in?code=c",
            }
        ],
    }


def test_keys_are_readable_by_their_owner_alone(tmp_path: Path) -> None:
    """The status file, the secrets and the folder are closed to other users."""
    folder = DataFolder(tmp_path / "data")
    with folder.held():
        folder.write(STATE)
        folder.secret("jwt")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [folder.path, *folder.path.iterdir()]}
    assert modes == {"data": 0o700, "stack.json": 0o600, "stack.lock": 0o600, "jwt.secret": 0o600}


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """A file in the way gives a sentence, not a stack trace; a folder that was there keeps its mode."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalStackError, match="file/data can't be used: Not a directory"):
        DataFolder(tmp_path / "file" / "data").held().__enter__()
    tmp_path.chmod(0o755)
    with DataFolder(tmp_path).held():
        assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_a_secret_stays_the_same(tmp_path: Path) -> None:
    """Cursors and page sessions of an earlier run stay valid."""
    folder = DataFolder(tmp_path)
    assert folder.secret("jwt") == DataFolder(tmp_path).secret("jwt") != folder.secret("signing-key")


def test_a_stack_whose_supervisor_is_gone_is_seen_as_stopped(tmp_path: Path) -> None:
    """Only the lock tells whether a stack runs; process ids in the file may belong to others by now."""
    folder = DataFolder(tmp_path)
    with folder.held():
        folder.write(STATE)
        assert folder.read() == STATE
    seen = folder.read()
    assert not seen.ready
    assert {(process.pid, process.state) for process in seen.processes} == {(None, State.STOPPED)}
    assert seen.workspaces == STATE.workspaces


@pytest.mark.parametrize("content", ["", "{", "[]", '{"ready": true}', '{"ready": 1, "processes": 3}'])
def test_a_damaged_status_file_counts_as_none(tmp_path: Path, content: str) -> None:
    """A file cut short or edited by hand must not keep the stack from starting."""
    (tmp_path / "stack.json").write_text(content)
    assert DataFolder(tmp_path).read() == StackState()


def test_a_second_stack_on_a_folder_is_told_who_holds_it(tmp_path: Path) -> None:
    """The message names the process and where it answers; after its end, even by SIGKILL, the folder is free."""
    folder = DataFolder(tmp_path)
    program = f"""
import sys, time
from pathlib import Path
from audit_local.data_folder import DataFolder, StackState
folder = DataFolder(Path({str(tmp_path)!r}))
with folder.held():
    folder.write(StackState(addresses={{"query_api": "http://127.0.0.1:8080"}}))
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert folder.holder == holder.pid
        with pytest.raises(LocalStackError, match=f"as process {holder.pid}, and answers at http://127.0.0.1:8080"):
            folder.held().__enter__()
        with pytest.raises(LocalStackError, match="runs already"):
            folder.delete_content()
        holder.kill()
    eventually(lambda: folder.holder is None, 5, "the lock is given up")
    with folder.held():
        pass


def test_reset_empties_a_stack_folder_and_no_other(tmp_path: Path) -> None:
    """`--data-dir ~` by mistake deletes nothing."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(LocalStackError, match="not the data folder of a stack"):
        DataFolder(tmp_path).delete_content()
    assert (tmp_path / "photos").exists()

    folder = DataFolder(tmp_path / "data")
    with folder.held():
        folder.write(STATE)
        (folder.kafka / "data").mkdir(parents=True)
        (folder.path / "link").symlink_to(tmp_path / "photos")
    folder.delete_content()
    assert [path.name for path in folder.path.iterdir()] == ["stack.lock"]
    assert (tmp_path / "photos").exists()


def test_lines_are_prefixed_on_the_terminal_and_kept_per_process(tmp_path: Path) -> None:
    """The terminal shows who speaks; the file has the line as it came."""
    terminal = io.StringIO()
    lines = LogLines(tmp_path, terminal, colour=False)
    lines.write("kafka", "started")
    lines.write("worker", "100 % done")
    lines.close()
    assert terminal.getvalue() == "kafka      │ started\nworker     │ 100 % done\n"
    assert (tmp_path / "kafka.log").read_text() == "started\n"
    assert (tmp_path / "worker.log").read_text() == "100 % done\n"


def test_each_process_keeps_its_colour(tmp_path: Path) -> None:
    """Colours go with the name, and end before the text."""
    terminal = io.StringIO()
    lines = LogLines(tmp_path, terminal, colour=True)
    for name in ("kafka", "worker", "kafka"):
        lines.write(name, "x")
    lines.close()
    first, second, third = terminal.getvalue().splitlines()
    assert first == third == "\x1b[36mkafka      │\x1b[0m x"
    assert second.startswith("\x1b[33mworker")


def test_a_closed_terminal_does_not_stop_the_logging(tmp_path: Path) -> None:
    """`audit-log up | head` ends the reader, not the stack."""
    terminal = io.StringIO()
    lines = LogLines(tmp_path, terminal, colour=False)
    terminal.close()
    lines.write("kafka", "one")
    lines.write("kafka", "two")
    lines.close()
    assert (tmp_path / "kafka.log").read_text() == "one\ntwo\n"


def test_the_status_table_tells_a_running_stack_from_a_stopped_one() -> None:
    """Links and addresses are shown while they work."""
    assert report.status(StackState()).startswith("No stack has run here yet")
    running = report.status(STATE)
    assert "kafka       ready       4711" in running
    assert "sign-in?code=c" in running
    stopped = report.status(STATE.stopped())
    assert stopped.startswith("not ready")
    assert "sign-in" not in stopped
