"""The `audit-log` command: one group of commands per job, errors told in a sentence."""

from __future__ import annotations

import sys
from importlib import import_module

from audit_infra.settings import SettingsError, exit_with
from audit_schemas.errors import AuditError

GROUPS = (
    "stack",
    "access",
    "worker",
    "pipeline",
    "query",
    "reading",
    "exporting",
    "fetching",
    "checking",
    "events_api",
    "relay",
    "demo",
)


def main() -> None:
    """Runs the command line; what a person can put right is told without a stack trace."""
    try:
        import typer
    except ModuleNotFoundError:
        sys.exit("audit-log needs more than the SDK: pip install 'workspace-audit-log[local]'")
    app = typer.Typer(
        name="audit-log",
        help="The workspace audit log: run it, feed it, read it, prove it.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for name in GROUPS:
        import_module(f"audit_cli.{name}").register(app)
    try:
        app()
    except SettingsError as error:
        exit_with(error)
    except AuditError as error:
        sys.exit(f"audit-log: {error}")
    except ModuleNotFoundError as error:
        if (error.name or "audit_").startswith("audit_"):
            raise  # a fault of ours, not of the installation
        sys.exit(f"audit-log: {error.name} is not installed: pip install 'workspace-audit-log[local]'")


if __name__ == "__main__":
    main()
