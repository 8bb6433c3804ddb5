"""The log's own use from the real processes through Kafka and back onto the page."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import httpx

from audit_cli.operator import user
from audit_infra.access import Access
from audit_local.ports import free_ports
from tests.support.pipeline import Pipeline
from tests.support.processes import ServerProcess
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.servers import ClickHouseServer, KafkaServer


def command(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "audit_cli", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=os.environ | environment,
    )


def labels(client: httpx.Client) -> list[tuple[str, str]]:
    """Label and actor of the newest events, the oldest first."""
    rows = client.get("/v1/events").json()["data"]
    return [(row["label"], row["actor"]["name"]) for row in reversed(rows)]


def test_what_operators_and_readers_do_is_read_in_the_log(
    kafka: KafkaServer, clickhouse: ClickHouseServer, topic_prefix: str, database: str, tmp_path: Path
) -> None:
    """The commands and the page write to the log that they are about; a view appears as a row of the page itself."""
    (port,) = free_ports(1)
    control = f"sqlite:///{tmp_path}/control.db"
    overrides = {
        "AUDIT_CONTROL_DATABASE_URL": control,
        "AUDIT_SPOOL_DIR": str(tmp_path / "spool"),
        "AUDIT_SIGNING_KEYS": "a signing key for tests",
        "AUDIT_QUERY_PORT": str(port),
    }
    pipeline = Pipeline(kafka, clickhouse, topic_prefix, database, tmp_path, overrides=overrides)
    environment, url = pipeline.env, f"http://127.0.0.1:{port}"

    def ready() -> bool:
        try:
            return httpx.get(f"{url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    service = ServerProcess(
        "query",
        [sys.executable, "-m", "audit_cli", "query"],
        ready,
        tmp_path / "query.log",
        60,
        os.environ | environment,
    )
    try:
        pipeline.worker().start()
        service.start()
        assert command(environment, "workspaces", "create", "w1", "starter").returncode == 0
        assert command(environment, "workspaces", "set-plan", "w1", "enterprise").returncode == 0
        made = command(environment, "keys", "create", "w1", "--scope", "audit:read", "--name", "SIEM")
        assert (made.returncode, "waits" in made.stderr) == (0, False)
        access = Access.open(control)
        code = access.create_sign_in_code("w1", "u1", "Ada Lovelace", "ada@example.com", reusable=True)
        (key,) = access.list_keys("w1")
        access.close()
        with httpx.Client(base_url=url, headers={"X-API-Key": made.stdout.strip()}) as client:
            did = [(label, user()) for label in ("Workspace Created", "Workspace Plan Changed", "API Key Created")]
            eventually(lambda: sorted(labels(client)[:3]) == sorted(did), 30, "what the operator did")
        with httpx.Client(base_url=url, follow_redirects=True) as browser:
            browser.get(f"/audit-log/sign-in?code={code}")
            eventually(
                lambda: "Ada Lovelace" in (page := browser.get("/audit-log").text) and "Audit Log Viewed" in page,
                30,
                "the view is a row",
            )
        assert command(environment, "keys", "revoke", key.id).returncode == 0
        query = "SELECT event_type, actor_type, count() FROM audit_events FINAL GROUP BY 1, 2 ORDER BY 1, 2"
        wanted = [
            ("api_key.created", "system", 1),
            ("api_key.revoked", "system", 1),
            ("audit_log.viewed", "api_key", 1),
            ("audit_log.viewed", "internal_user", 1),
            ("workspace.created", "system", 1),
            ("workspace.plan_changed", "system", 1),
        ]
        eventually(lambda: [tuple(row) for row in pipeline.store.rows(query, {})] == wanted, 30, "each is there once")
    finally:
        service.stop()
        pipeline.close()


def test_a_command_says_when_its_event_waits_or_is_lost(tmp_path: Path) -> None:
    """While Kafka is away the event waits in the spool, and a spool that can't be used ends the command with 1."""
    environment = {
        "AUDIT_CONTROL_DATABASE_URL": f"sqlite:///{tmp_path}/control.db",
        "AUDIT_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "AUDIT_SPOOL_DIR": str(tmp_path / "spool"),
        "AUDIT_EXIT_TIMEOUT_S": "0.1",
    }
    made = command(environment, "workspaces", "create", "w1", "starter")
    assert (made.returncode, made.stdout) == (0, "created w1 on starter\n")
    assert f"the event of this waits in {tmp_path / 'spool'}" in made.stderr
    assert list((tmp_path / "spool").glob("*.spool"))
    (tmp_path / "file").write_text("in the way")
    lost = command(
        environment | {"AUDIT_SPOOL_DIR": str(tmp_path / "file" / "spool")}, "workspaces", "set-plan", "w1", "free"
    )
    assert (lost.returncode, lost.stdout) == (1, "w1 is on free\n")
    assert lost.stderr.startswith("audit-log: ")
    assert "Traceback" not in lost.stderr
