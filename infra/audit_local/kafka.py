"""Runs one real broker in this process's place: prepares its folder, then becomes the Java process.

`python -m audit_local.kafka --path FOLDER --port N` is what the supervisor and the tests start, so the process id they
know is the broker's own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import TYPE_CHECKING

from audit_local import java, kafka_jars
from audit_local.errors import LocalStackError
from audit_local.kafka_config import (
    BrokerOptions,
    java_options,
    logging_properties,
    server_properties,
)

if TYPE_CHECKING:
    from collections.abc import Sequence


def prepare(options: BrokerOptions, command: Sequence[str]) -> None:
    """Writes the configuration and, on an empty folder, formats the storage; the cluster id is kept for ever."""
    options.folder.mkdir(parents=True, exist_ok=True)
    (options.folder / "server.properties").write_text(server_properties(options))
    (options.folder / "log4j2.properties").write_text(logging_properties(options))
    if (options.folder / "data" / "meta.properties").exists():
        return
    cluster_id = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    tool = [
        "kafka.tools.StorageTool",
        "format",
        "--ignore-formatted",
        # In one word: an id may begin with a dash.
        f"--cluster-id={cluster_id}",
    ]
    answer = subprocess.run(
        [*command, *tool, "--config", str(options.folder / "server.properties")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if answer.returncode != 0:
        raise LocalStackError(f"Kafka's storage in {options.folder} could not be formatted:\n{answer.stdout}")


def java_command(options: BrokerOptions, cache: Path | None = None) -> list[str]:
    """Java, its options and the class path, without a main class."""
    jars = kafka_jars.class_path(cache, say=lambda text: print(text, flush=True))
    runtime = java.find()
    return [
        str(runtime.program),
        *java_options(options, runtime.version),
        "-cp",
        os.pathsep.join(map(str, jars)),
    ]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m audit_local.kafka", description=__doc__)
    parser.add_argument(
        "--path",
        type=Path,
        required=True,
        help="folder of this broker's data and configuration",
    )
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--controller-port", type=int, required=True)
    parser.add_argument("--session-timeout-ms", type=int, default=BrokerOptions.session_timeout_ms)
    parser.add_argument("--heap-mb", type=int, default=BrokerOptions.heap_mb)
    given = parser.parse_args(arguments)
    options = BrokerOptions(
        given.path.absolute(),
        given.port,
        given.controller_port,
        session_timeout_ms=given.session_timeout_ms,
        heap_mb=given.heap_mb,
    )
    try:
        command = java_command(options)
        prepare(options, command)
    except LocalStackError as error:
        print(f"kafka: {error}", file=sys.stderr)
        raise SystemExit(os.EX_UNAVAILABLE) from None
    os.execv(command[0], [*command, "kafka.Kafka", str(options.folder / "server.properties")])


if __name__ == "__main__":
    main()
