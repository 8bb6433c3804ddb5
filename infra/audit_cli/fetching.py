"""`audit-log export`: a complete, checked export in a folder, whatever interrupts it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from audit_cli.checking import AsJson, KeyFile, show, trusted_key
from audit_cli.reading import (
    ActorType,
    App,
    Category,
    DataDir,
    EventType,
    Further,
    Ip,
    Meta,
    Outcome,
    Since,
    Source,
    Target,
    Until,
    User,
    Words,
    Workspace,
    ending_quietly,
    note,
    params_of,
    service,
)
from audit_cli.service import ServiceProblem, Unreachable
from audit_schemas.errors import AuditError

if TYPE_CHECKING:
    from audit_cli.query_client import Params
    from audit_cli.service import Service


class Format(StrEnum):
    """How the files are written."""

    csv = "csv"
    ndjson = "ndjson"
    parquet = "parquet"


class Order(StrEnum):
    """Which events come first."""

    desc = "desc"
    asc = "asc"


def export(
    out: Annotated[Path, typer.Option("--out", help="Folder for the export: new, empty, or that of this command.")],
    format_: Annotated[Format | None, typer.Option("--format", help="How the files are written.")] = None,
    job: Annotated[str | None, typer.Option(help="Fetch this export, instead of asking for a new one.")] = None,
    columns: Annotated[list[str] | None, typer.Option(help="Columns in this order, comma separated; all.")] = None,
    tz: Annotated[
        str | None, typer.Option(help="Zone of dates and of local times in CSV, such as Europe/Berlin.")
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="CSV for machines: no apostrophe before formulas.")] = False,
    order: Annotated[Order | None, typer.Option(help="Newest first (desc), or oldest first.")] = None,
    user: User = None,
    event: EventType = None,
    category: Category = None,
    source: Source = None,
    actor_type: ActorType = None,
    outcome: Outcome = None,
    target: Target = None,
    app: App = None,
    ip: Ip = None,
    meta: Meta = None,
    q: Words = None,
    since: Since = None,
    until: Until = None,
    filter_: Further = None,
    key: KeyFile = None,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".data"),
    workspace: Workspace = None,
) -> None:
    """Export all events that match into a folder, with the signed manifest, and check it.

    Interrupted in any way, the same command goes on with the same export and the same bytes. Address and API key are
    AUDIT_LOG_URL and AUDIT_LOG_API_KEY. Status 0: complete and intact. 1: not so, and why. 2: the command is wrong.
    """
    filters = params_of(locals() | {"tz": None})
    if job is not None:
        if filters or format_ or columns or tz or raw or order:
            raise typer.BadParameter(
                "an export that exists is fetched as it is: no filters or forms beside it", param_hint="--job"
            )
        asked: Mapping[str, Any] = {"job": job}
    elif format_ is None:
        raise typer.BadParameter("is needed for a new export: csv, ndjson or parquet", param_hint="--format")
    else:
        asked = _request(format_, filters, columns or (), tz, raw, order)
    _fetch(out, asked, key, service(data_dir, workspace), as_json=as_json)


def _request(
    format_: Format, filters: Params, columns: Sequence[str], tz: str | None, raw: bool, order: Order | None
) -> Mapping[str, Any]:
    """The body of POST /v1/exports; whether its values are right is the service's to say."""
    filter_: dict[str, list[str]] = {}
    for name, value in filters:
        filter_.setdefault(name, []).append(value)
    chosen = [name.strip() for text in columns for name in text.split(",") if name.strip()]
    further = {"columns": chosen, "tz": tz, "raw": raw, "order": order and order.value}
    return {"format": format_.value, "filter": filter_, **{name: value for name, value in further.items() if value}}


def _fetch(out: Path, asked: Mapping[str, Any], key: Path | None, asking: Service, *, as_json: bool) -> None:
    from audit_cli.export_client import ExportClient
    from audit_cli.export_fetch import Fetching
    from audit_cli.export_folder import ExportFolder, FolderProblem
    from audit_cli.progress import bars
    from audit_query.exports.checking import Unusable, Verdict

    with ending_quietly():
        try:
            trusted = trusted_key(key)
            with ExportFolder.held(out) as folder, bars() as display:
                fetching = Fetching(ExportClient(asking, note, time.sleep), folder, display)
                report = fetching.fetch(asked, trusted)
        except (ServiceProblem, Unreachable):
            raise
        except (FolderProblem, Unusable) as error:
            note(str(error))
            raise typer.Exit(2) from None
        except AuditError as error:
            note(str(error))
            raise typer.Exit(1) from None
        except OSError as error:
            note(f"{error.filename or out}: {error.strerror}; the same command goes on with this export")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            note(f"stopped; the same command goes on with this export ({out})")
            raise
        show(report, as_json=as_json)
        raise typer.Exit(0 if report.verdict is Verdict.INTACT else 1)


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command()(export)
