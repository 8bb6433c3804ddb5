"""`python -m audit_local.clickhouse_server`: opens the folder, says where it listens, serves until SIGTERM."""

from __future__ import annotations

import argparse
import ipaddress
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Final

import uvicorn

from audit_local.clickhouse_server.app import App
from audit_local.clickhouse_server.engine import Engine
from audit_local.clickhouse_server.errors import ServerError
from audit_local.clickhouse_server.execution import Execution
from audit_local.errors import LocalStackError
from audit_local.file_lock import FileLockedError, exclusive

_KEEP_ALIVE_SECONDS: Final = 30
_BACKLOG: Final = 512
_LAST_SECONDS: Final = 2
_log: Final = logging.getLogger("clickhouse")


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m audit_local.clickhouse_server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="folder of the data; made when missing")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    parser.add_argument("--port", type=int, default=8123, help="0 takes a free one (default %(default)s)")
    parser.add_argument("--threads", type=int, default=32, help="queries that run at once (default %(default)s)")
    parser.add_argument("--user", help="with --password: refuse other credentials; without both, any are accepted")
    parser.add_argument("--password", help="see --user")
    parser.add_argument(
        "--grace", type=int, default=10, help="seconds that running queries get at the end (default %(default)s)"
    )
    return parser


def main() -> None:
    """Runs the server; ends with status 1 and one line when it cannot start."""
    options = arguments().parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    # The engine keeps a file open for each part that it reads; the usual soft limit is too low for that.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        with listening(options.host, options.port) as bound:
            serve(options, bound)
    except LocalStackError as error:
        print(f"clickhouse: {error}", file=sys.stderr)
        sys.exit(1)


def listening(host: str, port: int) -> socket.socket:
    """A socket that nobody else has; raises `LocalStackError` when the port is taken."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
    except ValueError:
        family = socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        # Listening from here on: another process that tries the port is refused, and clients wait for the engine.
        bound.listen(_BACKLOG)
    except OSError as error:
        bound.close()
        raise LocalStackError(f"cannot listen on {host}:{port}: {os.strerror(error.errno or 0)}") from None
    return bound


def serve(options: argparse.Namespace, bound: socket.socket) -> None:
    """Opens the engine and answers until a signal."""
    host, port = bound.getsockname()[:2]
    folder: Path = options.path.resolve()
    try:
        with exclusive(folder / "front.lock", note=f"process {os.getpid()}, http://{host}:{port}", wait=False):
            engine = Engine(folder / "engine")
            spool_folder = folder / "bodies"
            spool_folder.mkdir(exist_ok=True)
            execution = Execution(engine, options.threads, spool_folder)
            credentials = (
                (options.user or "default", options.password or "") if options.user or options.password else None
            )
            _log.info("ClickHouse %s in %s answers on http://%s:%d", engine.version, folder, host, port)
            app = App(execution, engine.version, spool_folder, credentials)
            _until_signal(uvicorn.Server(config(app, options.grace)), bound)
            if not execution.stop(_LAST_SECONDS):
                # The engine survives a kill at any moment; waiting for a thread that hangs would not end.
                _log.warning("ended with queries unfinished")
                os._exit(1)
            engine.close()
            _log.info("closed %s", folder)
    except FileLockedError as busy:
        raise LocalStackError(f"{folder} is in use by another server ({busy.note or 'no note'})") from None
    except ServerError as error:
        raise LocalStackError(f"cannot open {folder}: {error.text}") from None
    except OSError as error:
        raise LocalStackError(f"cannot use {folder}: {error}") from None


def _until_signal(server: uvicorn.Server, bound: socket.socket) -> None:
    # uvicorn ends by raising the signal again for whoever handled it before; the engine must be closed after that.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    server.run([bound])


def config(app: App, grace_seconds: int) -> uvicorn.Config:
    """uvicorn with nothing that a bare ASGI application does not need."""
    return uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        log_config=None,
        log_level="critical",
        server_header=False,
        date_header=True,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=grace_seconds,
    )


if __name__ == "__main__":
    main()
