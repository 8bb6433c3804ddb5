"""`audit-log export` against a service that cuts, refuses, lies and goes away: the folder ends complete, or says why not."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from typer.testing import CliRunner, Result

from audit_cli import fetching
from audit_cli.export_folder import STATE, ExportFolder, Partial
from audit_cli.patience import TRIES
from audit_cli.progress import Bars
from tests.support.export_server import ExportServer, Fault
from tests.support.packs import Pack, rows

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEW = ("--format", "csv", "--event", "file.downloaded", "--event", "file.deleted", "--since", "7d")


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What the command would have waited, in seconds."""
    waited: list[float] = []
    monkeypatch.setattr("audit_cli.fetching.time.sleep", waited.append)
    return waited


@pytest.fixture
def server(tmp_path: Path, waits: list[float]) -> Iterator[ExportServer]:
    """A service with a finished export of three parts."""
    made = ExportServer(Pack(tmp_path / "pack"))
    yield made
    made.close()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def run(server: ExportServer, out: Path, *arguments: str, **settings: str) -> Result:
    app = typer.Typer()
    fetching.register(app)
    env = {"AUDIT_LOG_URL": server.url, "AUDIT_LOG_API_KEY": "alk_secret", **settings}
    return CliRunner().invoke(app, ["--out", str(out), *arguments], env=env)


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_new_export_is_asked_for_fetched_and_checked(server: ExportServer, out: Path, waits: list[float]) -> None:
    """The folder is exactly the pack; the request holds what the options said, the key of the service is trusted."""
    server.steps = [("queued", 0), ("running", 1), ("running", 1), ("running", 2), ("done", 3)]
    arguments = ("--tz", "Europe/Berlin", "--raw", "--order", "asc", "--columns", "actor, event_id", "--columns", "ip")
    done = run(server, out, *NEW, "--meta", "a=b", "--filter", "not_user=u1", *arguments)
    assert done.exit_code == 0, done.stderr
    assert content(out) == content(server.pack.folder)
    assert done.stdout.splitlines()[-1] == "intact, signed by k1"
    assert done.stderr == ""
    asked = server.asked("/v1/exports")[0]
    assert (asked.method, asked.headers["X-API-Key"]) == ("POST", "alk_secret")
    assert len(asked.headers["Idempotency-Key"]) == 32
    filter_ = {"event": ["file.downloaded", "file.deleted"], "since": ["7d"], "meta.a": ["b"], "not_user": ["u1"]}
    assert json.loads(asked.body) == {
        "format": "csv",
        "filter": filter_,
        "columns": ["actor", "event_id", "ip"],
        "tz": "Europe/Berlin",
        "raw": True,
        "order": "asc",
    }
    assert waits == [0.5, 0.5, 1.0, 0.5]


def test_a_job_that_exists_is_fetched_and_fetched_again_without_harm(server: ExportServer, out: Path) -> None:
    """A folder that holds the whole job already is only checked."""
    assert run(server, out, "--job", server.id).exit_code == 0
    assert content(out) == content(server.pack.folder)
    assert not any(one.method == "POST" for one in server.requests)
    server.requests.clear()
    again = run(server, out, "--job", server.id, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["verdict"] == "intact"
    assert [one.path for one in server.requests] == ["/v1/signing-keys"]
    server.pack.file(1).unlink()
    (out / server.pack.file(2).name).write_bytes(b"")
    assert run(server, out, "--job", server.id).exit_code == 1


def test_a_cut_part_goes_on_where_it_was_cut(server: ExportServer, out: Path, waits: list[float]) -> None:
    """Only if it is still the same part; a service that starts anew is followed too."""
    size = server.pack.file(1).stat().st_size
    server.faults["parts/1"] = [Fault(cut_after=40), Fault(cut_after=10)]
    server.faults["parts/2"] = [Fault(cut_after=40), Fault(whole=True)]
    done = run(server, out, *NEW)
    assert done.exit_code == 0, done.stderr
    ranges = [one.headers.get("Range") for one in server.asked("parts/1")]
    assert ranges == [None, "bytes=40-", "bytes=50-"]
    assert server.asked("parts/1")[1].headers["If-Range"] == f'"{server.pack.manifest["parts"][0]["sha256"]}"'
    assert f"part 1 broke off after 40 of {size} bytes; going on in 1 s" in done.stderr
    assert waits == [1, 1, 1]


def test_the_same_command_goes_on_after_any_interruption(
    server: ExportServer, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the job is known and in the middle of a part: the same key, the same job, and only the rest of the bytes."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    out.mkdir()
    (out / f"{STATE}.partial").write_text('{"asked"')  # a crash before anything was asked for
    with monkeypatch.context() as patch:
        patch.setattr(ExportFolder, "belongs_to", interrupt)
        stopped = run(server, out, *NEW)
    assert (stopped.exit_code, stopped.stderr.count("\n")) == (130, 1)
    assert "the same command goes on with this export" in stopped.stderr
    server.faults["parts/1"] = [Fault(cut_after=30)]
    with monkeypatch.context() as patch:
        patch.setattr(Bars, "fetched", interrupt)
        assert run(server, out, *NEW).exit_code == 130
    assert (out / f"{server.pack.file(1).name}.partial").stat().st_size == 30
    assert run(server, out, *NEW).exit_code == 0
    posted = [one.headers["Idempotency-Key"] for one in server.requests if one.method == "POST"]
    assert len(posted) == 2
    assert len(set(posted)) == 1
    assert [one.headers.get("Range") for one in server.asked("parts/1")] == [None, "bytes=30-"]
    assert content(out) == content(server.pack.folder)


def test_another_command_in_the_folder_is_refused(server: ExportServer, out: Path, tmp_path: Path) -> None:
    """Nothing is mixed: neither two exports, nor an export and other files, nor two commands at once."""
    server.faults["parts/2"] = [Fault(status=403)]
    assert run(server, out, *NEW).exit_code == 1
    before = content(out)
    other = run(server, out, *NEW, "--raw")
    assert other.exit_code == 2
    assert f"holds what another command began: the export {server.id} of {{" in other.stderr
    assert run(server, out, "--job", server.id).exit_code == 2
    assert content(out) == before
    with ExportFolder.held(out):
        assert "another command is fetching an export into this folder" in run(server, out, *NEW).stderr
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo").touch()
    assert "is not empty, and holds no export" in run(server, tmp_path / "full", *NEW).stderr
    assert "Not a directory" in run(server, tmp_path / "full" / "photo" / "x", *NEW).stderr
    (out / STATE).write_text("{}")
    assert "can't be read" in run(server, out, *NEW).stderr


def test_a_complete_folder_takes_no_second_export(server: ExportServer, out: Path) -> None:
    """The same words may mean other events tomorrow."""
    assert run(server, out, *NEW).exit_code == 0
    again = run(server, out, *NEW)
    assert again.exit_code == 2
    assert f"holds the export {server.id}, complete: choose another folder" in again.stderr


def test_a_service_that_is_busy_or_away_is_waited_for(server: ExportServer, out: Path, waits: list[float]) -> None:
    """As long as it asks for, else ever longer; each failure of a network counts, and progress begins anew."""
    server.faults["/v1/exports"] = [Fault(status=429, retry_after="7"), Fault(status=503), Fault(cut_after=5)]
    server.faults["/manifest"] = [Fault(status=502), Fault(status=504)]
    done = run(server, out, *NEW)
    assert done.exit_code == 0, done.stderr
    assert waits == [7, 2, 4, 1, 2]
    keys = {one.headers["Idempotency-Key"] for one in server.requests if one.method == "POST"}
    assert len(keys) == 1


def test_patience_ends(server: ExportServer, out: Path, waits: list[float]) -> None:
    """After four minutes, or when the service asks for longer than anybody would wait; the reason is told."""
    server.faults["/v1/exports"] = [Fault(status=503)] * TRIES
    ended = run(server, out, *NEW)
    assert (ended.exit_code, len(waits)) == (1, TRIES - 1)
    assert 200 < sum(waits) < 300
    assert ended.stderr.splitlines()[-1] == "audit-log: told to answer 503"
    server.faults["/v1/exports"] = [Fault(status=429, retry_after="3600")]
    assert run(server, out, *NEW).exit_code == 1
    assert len(waits) == TRIES - 1
    away = run(server, out, *NEW, AUDIT_LOG_URL="http://127.0.0.1:9")
    assert away.exit_code == 1
    assert "can't be reached" in away.stderr


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410])
def test_a_refusal_is_told_at_once(server: ExportServer, out: Path, waits: list[float], status: int) -> None:
    """Wherever it comes; what is here stays for another try."""
    server.faults["parts/3"] = [Fault(status=status)]
    refused = run(server, out, *NEW)
    assert (refused.exit_code, refused.stderr, waits) == (1, f"audit-log: told to answer {status}\n", [])
    assert run(server, out, *NEW).exit_code == 0


def test_a_failed_job_is_told_and_tried_again_by_the_next_run(server: ExportServer, out: Path) -> None:
    """Its finished parts are here already; one that was named is left as it is."""
    server.steps = [("running", 1), ("failed", 1), ("failed", 1), ("running", 2), ("done", 3)]
    failed = run(server, out, *NEW)
    assert failed.exit_code == 1
    assert "failed: disk-full, no space is left. The same command has it tried again" in failed.stderr
    again = run(server, out, *NEW)
    assert again.exit_code == 0, again.stderr
    assert [one.path for one in server.requests if one.method == "POST"] == [
        "/v1/exports",
        f"/v1/exports/{server.id}/retry",
    ]
    assert len(server.asked("parts/1")) == 1
    server.steps = [("cancelled", 1)]
    assert "was cancelled" in run(server, out.parent / "second", *NEW).stderr
    server.steps = [("failed", 1)]
    assert run(server, out.parent / "third", "--job", server.id).exit_code == 1
    assert len(server.asked("/retry")) == 1


def test_a_retry_that_somebody_else_asked_for_is_enough(server: ExportServer, out: Path) -> None:
    """A conflict means that it goes on already."""
    server.steps = [("failed", 0), ("failed", 0), ("done", 3)]
    assert run(server, out, *NEW).exit_code == 1
    server.faults["/retry"] = [Fault(status=409)]
    assert run(server, out, *NEW).exit_code == 0


def test_an_expired_export_is_complete_when_its_parts_are_here(server: ExportServer, out: Path) -> None:
    """Manifests are kept for ever."""
    server.faults["/manifest"] = [Fault(status=403)]
    assert run(server, out, *NEW).exit_code == 1
    server.steps = [("expired", 3)]
    assert run(server, out, *NEW).exit_code == 0


def test_damaged_bytes_are_fetched_again_and_never_kept(server: ExportServer, out: Path) -> None:
    """Twice; then the service is not believed any more."""
    server.faults["parts/1"] = [Fault(damaged=True), Fault(damaged=True)]
    assert run(server, out, *NEW).exit_code == 0
    assert content(out) == content(server.pack.folder)
    server.faults["parts/1"] = [Fault(damaged=True)] * 3
    ended = run(server, out.parent / "other", *NEW)
    assert ended.exit_code == 1
    assert "came with another SHA-256 than announced" in ended.stderr
    assert not (out.parent / "other" / server.pack.file(1).name).exists()
    server.faults["parts/1"] = [Fault(cut_after=40), Fault(shifted=1)]
    assert "came otherwise" in run(server, out.parent / "third", *NEW).stderr


def test_a_part_that_was_changed_here_is_found_and_fetched_again(server: ExportServer, out: Path) -> None:
    """The check at the end finds what happened to the files in between."""
    server.faults["parts/2"] = [Fault(status=403)]
    assert run(server, out, *NEW).exit_code == 1
    here = out / server.pack.file(1).name
    here.write_bytes(bytes(here.stat().st_size))
    faulty = run(server, out, *NEW)
    assert faulty.exit_code == 1
    assert faulty.stdout.startswith(f"part 1 ({here.name}): is edited")
    assert run(server, out, *NEW).exit_code == 0
    assert content(out) == content(server.pack.folder)


@pytest.mark.parametrize("name", ["../escaped", "/tmp/escaped", ".bashrc", "a/b", ""])
def test_a_service_can_write_nowhere_else(server: ExportServer, out: Path, name: str) -> None:
    """Names of files are names, not paths."""
    server.pack.manifest["parts"][0]["file"] = name
    refused = run(server, out, *NEW)
    assert refused.exit_code == 1
    assert "can't be understood (parts.0.file)" in refused.stderr
    assert list(content(out)) == [STATE]


def test_an_answer_that_is_not_of_the_contract_is_not_believed(server: ExportServer, out: Path) -> None:
    """Another id, unknown states, a manifest of another export, keys that nobody names."""
    for number, (field, value) in enumerate({"state": "fine", "id": "../x", "rows_done": -1, "parts": None}.items()):
        server.changes = {field: value}
        assert f"can't be understood ({field})" in run(server, out.parent / f"job{number}", *NEW).stderr
    server.changes = {"id": "other"}
    assert "holds files of the export" in run(server, out.parent / "other", "--job", server.id).stderr
    server.id = "other"
    assert f"that of the export {server.pack.manifest['export_id']}" in run(server, out.parent / "new", *NEW).stderr
    server.changes, server.id = {}, server.pack.manifest["export_id"]
    server.keys = [{"key_id": "k2", "public_key_pem": ""}]
    assert "signed with the key k1, which the service does not name" in run(server, out, *NEW).stderr


def test_a_key_of_ones_own_is_trusted_before_the_services(server: ExportServer, out: Path, tmp_path: Path) -> None:
    """A service that signs with another is found; a file without a key is wrong usage."""
    key = server.pack.trusted(tmp_path)
    assert run(server, out, *NEW, "--key", str(key)).exit_code == 0
    assert not server.asked("/v1/signing-keys")
    strange = Pack(tmp_path / "strange")
    strange.signer = Ed25519PrivateKey.from_private_bytes(b"s" * 32)
    strange.sign()
    other = run(server, tmp_path / "out2", *NEW, "--key", str(strange.trusted(tmp_path)))
    assert other.exit_code == 1
    assert "another key than the trusted one" in other.stdout
    key.write_text("no key")
    assert run(server, tmp_path / "out3", *NEW, "--key", str(key)).exit_code == 2


def test_a_full_disk_is_told_in_a_sentence(server: ExportServer, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the same command goes on once there is room."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(out))

    with monkeypatch.context() as patch:
        patch.setattr(Partial, "finish", full)
        ended = run(server, out, *NEW)
    assert (ended.exit_code, ended.stderr) == (
        1,
        f"audit-log: {out}: No space left on device; the same command goes on with this export\n",
    )


def test_wrong_options_are_refused_before_anything_is_asked(server: ExportServer, out: Path) -> None:
    """No format, a format beside a job, unknown values."""
    for arguments in (
        ("--since", "7d"),
        ("--job", "x", "--format", "csv"),
        ("--job", "x", "--user", "u1"),
        ("--format", "xml"),
        ("--format", "csv", "--order", "up"),
        ("--format", "csv", "--meta", "x"),
    ):
        assert run(server, out, *arguments).exit_code == 2, arguments
    assert run(server, out, *NEW, AUDIT_LOG_API_KEY="", AUDIT_API_KEY="").exit_code == 2
    assert server.requests == []
    assert not out.exists()


def test_an_empty_export_is_complete(tmp_path: Path, waits: list[float]) -> None:
    """One part with a header and no rows."""
    server = ExportServer(Pack(tmp_path / "pack", parts=[rows(0)]))
    done = run(server, tmp_path / "out", *NEW)
    server.close()
    assert done.exit_code == 0, done.stderr
    assert "0 rows in 1 part," in done.stdout


def test_a_terminal_sees_how_far_it_is(server: ExportServer, out: Path) -> None:
    """Bars on stderr for both commands; the result on stdout is the same."""
    env = os.environ | {"AUDIT_LOG_URL": server.url, "AUDIT_LOG_API_KEY": "k", "TERM": "xterm", "COLUMNS": "100"}
    for arguments, bars in (
        (["export", "--format", "csv", "--out", str(out)], ("rows ready", "bytes here")),
        (["check-export", str(out)], ("checking",)),
    ):
        ours, theirs = os.openpty()
        command = [sys.executable, "-m", "audit_cli", *arguments]
        process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=theirs, text=True)
        os.close(theirs)
        shown = b""
        with contextlib.suppress(OSError):  # how a terminal tells that its last program ended
            while piece := os.read(ours, 65_536):
                shown += piece
        os.close(ours)
        told, _ = process.communicate(timeout=60)
        assert told.splitlines()[-1].startswith("intact, ")
        assert all(bar.encode() in shown for bar in bars), shown


def test_the_older_names_of_the_settings_are_taken_too(server: ExportServer, out: Path) -> None:
    """Where the newer ones are not set."""
    older = {"AUDIT_LOG_URL": "", "AUDIT_LOG_API_KEY": "", "AUDIT_QUERY_URL": server.url, "AUDIT_API_KEY": "old"}
    assert run(server, out, *NEW, **older).exit_code == 0
    assert server.requests[0].headers["X-API-Key"] == "old"
