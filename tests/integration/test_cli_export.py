"""`audit-log export` and `check-export` with a real service and worker: every format, kills, and a service that restarts."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import typer
from typer.testing import CliRunner, Result

from audit_cli import checking, fetching
from audit_infra.access import PAGE_SCOPES
from tests.builders import NOON, event
from tests.support.exports import Turns, events, make_key, put, settings_of, worker_process
from tests.support.proxy import Relay
from tests.support.query_service import QueryService
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from audit_query.exports.keys import PublicKey
    from audit_schemas.event import Event

ROWS = 40
FORMS = (("csv", "desc"), ("csv", "asc"), ("ndjson", "desc"), ("parquet", "asc"))
HELD = 3_000
"""Bytes of an answer that come before it is held: more than a job or a manifest's head, less than a part."""


@pytest.fixture
def key(query: QueryService) -> PublicKey:
    return make_key(query)


@pytest.fixture
def worker(query: QueryService, key: PublicKey, tmp_path: Path) -> Iterator[None]:
    """A worker in a process of its own, whose parts hold forty events."""
    with worker_process(
        settings_of(query, export_part_rows=ROWS, export_lease_s=5, exit_timeout_s=0), tmp_path / "worker.log"
    ):
        yield


@pytest.fixture
def relay(query: QueryService) -> Iterator[Relay]:
    """In front of the service."""
    made = Relay(address(query))
    yield made
    made.close()


def address(service: QueryService) -> tuple[str, int]:
    parts = urlsplit(service.url)
    return parts.hostname or "", parts.port or 0


def environment(service: QueryService, url: str = "") -> dict[str, str]:
    secret = service.access.create_key("w1", PAGE_SCOPES).secret
    return {"AUDIT_LOG_URL": url or service.url, "AUDIT_LOG_API_KEY": secret}


def run(env: dict[str, str], *arguments: str) -> Result:
    """Either command, in this process."""
    app = typer.Typer()
    fetching.register(app)
    checking.register(app)
    return CliRunner().invoke(app, arguments, env=env)


def shuffled(count: int) -> list[Event]:
    """Events of few instants, so that their order is that of their ids, which are random; incompressible text in each."""
    dice = random.Random(7)
    return [
        event(
            event_id=str(uuid.UUID(int=dice.getrandbits(128), version=4)),
            occurred_at=NOON.replace(microsecond=number % 3),
            metadata={"noise": dice.randbytes(150).hex()},
        )
        for number in range(count)
    ]


def test_an_export_is_whole_and_stays_checkable(
    query: QueryService, worker: None, key: PublicKey, tmp_path: Path
) -> None:
    """In each format: over several parts, with the service's key, and offline afterwards; a swap of parts is found."""
    put(query, [*shuffled(110), *events(5)])
    pem = tmp_path / "key.pem"
    pem.write_text(key.public_key_pem)
    for form in FORMS:
        out = tmp_path / "-".join(form)
        arguments = ("--format", form[0], "--order", form[1], "--since", "2026-01-01T00:00:00Z", "--out", str(out))
        done = run(environment(query), "export", *arguments)
        assert done.exit_code == 0, done.stdout + done.stderr
        assert done.stdout.splitlines()[-1] == f"intact, signed by {key.key_id}"
        manifest = json.loads((out / "manifest.json").read_bytes())
        files = [part["file"] for part in manifest["parts"]]
        assert [part["rows"] for part in manifest["parts"]] == [ROWS, ROWS, 35]
        assert {path.name for path in out.iterdir()} == {"README.txt", "manifest.json", "manifest.json.sig", *files}
        checked = run({}, "check-export", str(out), "--key", str(pem))
        assert (checked.exit_code, checked.stdout) == (0, done.stdout)
        (out / files[0]).rename(out / "aside")
        (out / files[1]).rename(out / files[0])
        (out / "aside").rename(out / files[1])
        assert [line.partition(":")[0] for line in run({}, "check-export", str(out)).stdout.splitlines()[:2]] == [
            f"part 1 ({files[0]})",
            f"part 2 ({files[1]})",
        ]


def test_an_export_of_nothing_is_whole(query: QueryService, worker: None, tmp_path: Path) -> None:
    """A header, no rows, and the proof that there were none; another command in the folder is refused."""
    put(query, events(3))
    out, env = tmp_path / "out", environment(query)
    arguments = ("export", "--format", "csv", "--user", "nobody", "--columns", "event_id,actor", "--out", str(out))
    done = run(env, *arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    (part,) = json.loads((out / "manifest.json").read_bytes())["parts"]
    assert gzip.decompress((out / part["file"]).read_bytes()) == b"Event ID,Actor\r\n"
    assert run(env, *arguments).exit_code == 2
    refused = run(
        env, "export", "--format", "csv", "--category", "file", "--columns", "colour", "--out", str(tmp_path / "x")
    )
    assert refused.exit_code == 1
    assert {line.split(":")[1].strip() for line in refused.stderr.splitlines()[1:]} == {
        "/filter/category",
        "/columns/0",
    }


def test_a_kill_in_mid_download_costs_nothing_but_time(
    query: QueryService, worker: None, relay: Relay, tmp_path: Path
) -> None:
    """SIGKILL in the middle of a part; the same command asks for no second job and fetches only the rest."""
    put(query, shuffled(60))
    out = tmp_path / "out"
    relay.hold_after = HELD
    env = environment(query, f"http://127.0.0.1:{relay.port}")
    arguments = ["export", "--format", "csv", "--out", str(out)]
    process = subprocess.Popen([sys.executable, "-m", "audit_cli", *arguments], env=os.environ | env)
    try:
        partial = eventually(lambda: [*out.glob("audit-log-*.partial")], 60, "a part is being fetched")[0]
        begun = eventually(lambda: partial.stat().st_size, 20, "bytes of it are here")
        process.send_signal(signal.SIGKILL)
        assert process.wait(20) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait(20)
    relay.cut()
    relay.go_on()
    done = run(env, *arguments)
    assert done.exit_code == 0, done.stdout + done.stderr
    (job,) = query.client().get("/v1/exports").json()["data"]
    size = job["parts"][0]["bytes"]
    assert 0 < begun < size

    def rest() -> list[int]:
        """How much was sent by answers that began where the kill was."""
        found = [json.loads(one.metadata) for one in query.broker.events if one.event_type.endswith("_downloaded")]
        return [one["bytes"] for one in found if one.get("range") == f"bytes {begun}-{size - 1}/{size}"]

    assert eventually(rest, 20, "the download is recorded") == [size - begun]


def test_a_service_that_restarts_is_waited_for(query: QueryService, worker: None, relay: Relay, tmp_path: Path) -> None:
    """Stopped in the middle of a part, and back at another moment: one command, which goes on by itself."""
    put(query, shuffled(60))
    out = tmp_path / "out"
    relay.hold_after = HELD
    env = environment(query, f"http://127.0.0.1:{relay.port}")
    command = [sys.executable, "-m", "audit_cli", "export", "--format", "csv", "--out", str(out)]
    process = subprocess.Popen(command, env=os.environ | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    second = None
    try:
        eventually(lambda: relay.held, 60, "a part is being fetched")
        query.stop()
        relay.cut()
        relay.go_on()
        second = QueryService(query.clickhouse_url, query.database, query.folder)
        relay.target = address(second)
        told, notes = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait(20)
        if second is not None:
            second.close()
    assert process.returncode == 0, told + notes
    assert "going on in 1 s" in notes
    assert told.splitlines()[-1].startswith("intact, signed by ")


def test_a_stream_and_its_manifest_are_checked_too(query: QueryService, key: PublicKey, tmp_path: Path) -> None:
    """Download, manifest and signature in one folder, each under the name that the manifest and the document say."""
    put(query, shuffled(30))
    client = query.client()
    pem = tmp_path / "key.pem"
    pem.write_text(key.public_key_pem)
    with Turns(query, settings_of(query)) as worker:

        def manifest_of(export: str) -> bytes:
            worker.tidy()
            answer = client.get(f"{export}/manifest")
            return answer.content if answer.status_code == 200 else b""

        for format_ in ("csv", "ndjson", "parquet"):
            stream = client.get("/v1/export", params={"format": format_} | ({"bom": "1"} if format_ == "csv" else {}))
            export = f"/v1/exports/{stream.headers['x-export-id']}"
            manifest = eventually(partial(manifest_of, export), 20, "the manifest is signed")
            out = tmp_path / format_
            out.mkdir()
            (out / "manifest.json").write_bytes(manifest)
            (out / "manifest.json.sig").write_bytes(client.get(f"{export}/manifest.sig").content)
            (out / json.loads(manifest)["parts"][0]["file"]).write_bytes(stream.content)
            checked = run({}, "check-export", str(out), "--key", str(pem))
            assert (checked.exit_code, checked.stdout.splitlines()[-1]) == (0, f"intact, signed by {key.key_id}")
            assert "30 rows in 1 part" in checked.stdout
