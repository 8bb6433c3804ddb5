"""`audit-log up | down | status | reset`: the whole system on this machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

DataDir = Annotated[Path, typer.Option("--data-dir", help="Folder of everything the stack keeps.")]
DEFAULT_DATA_DIR = Path(".data")


def register(app: typer.Typer) -> None:
    """Adds the four commands to the top level."""
    for command in (up, down, status, reset):
        app.command()(command)


def up(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    partitions: Annotated[int, typer.Option(min=1, max=64, help="Partitions of each new topic.")] = 1,
    demo: Annotated[bool, typer.Option(help="Send demo history and live events.")] = True,
) -> None:
    """Start Kafka, ClickHouse, the worker, the query service and the Events API here, and keep them running until Ctrl-C."""
    from audit_local import stack
    from audit_local.data_folder import DataFolder

    colour = sys.stdout.isatty()
    stack.up(DataFolder(data_dir), sys.stdout, partitions=partitions, demo=demo, colour=colour)


def down(data_dir: DataDir = DEFAULT_DATA_DIR) -> None:
    """Stop the stack that runs on the folder, from another terminal."""
    from audit_local import stack
    from audit_local.data_folder import DataFolder

    pid = stack.down(DataFolder(data_dir))
    print("No stack runs here." if pid is None else f"Stopped process {pid} and everything it had started.")


def status(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    as_json: Annotated[bool, typer.Option("--json", help="For programs; includes the demo keys.")] = False,
) -> None:
    """Say what runs, where it answers and how to get in."""
    from audit_local import report
    from audit_local.data_folder import DataFolder

    state = DataFolder(data_dir).read()
    print(state.to_json() if as_json else report.status(state))


def reset(
    data_dir: DataDir = DEFAULT_DATA_DIR,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete everything the stack has kept: events, keys, settings, logs."""
    from audit_local.data_folder import DataFolder

    folder = DataFolder(data_dir)
    folder.check_deletable()
    if not yes:
        typer.confirm(f"Delete all events, workspaces, keys and logs in {folder.path}?", abort=True)
    folder.delete_content()
    print(f"{folder.path} is empty now.")
