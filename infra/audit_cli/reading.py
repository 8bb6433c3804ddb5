"""`audit-log search | tail`: the log in a terminal, asked of the query service."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer
from pydantic import Field, SecretStr

from audit_infra.clock import utc_now
from audit_infra.settings import Settings

if TYPE_CHECKING:
    from audit_cli.query_client import Event, Params, QueryClient
    from audit_cli.service import Service

_OPTIONS = (
    "user",
    "event",
    "category",
    "source",
    "actor_type",
    "outcome",
    "target",
    "app",
    "ip",
    "q",
    "since",
    "until",
    "tz",
)
ENDED = 130
"""What a shell makes of a command that Ctrl-C ended."""


class ReadingSettings(Settings):
    """Which query service to ask, and as whom."""

    log_url: str = Field("", pattern=r"^(https?://.+)?$", description="empty: AUDIT_QUERY_URL, or the local stack's")
    log_api_key: SecretStr = Field(SecretStr(""), description="empty: AUDIT_API_KEY, or the local stack's")
    query_url: str = Field("", pattern=r"^(https?://.+)?$", description="where AUDIT_LOG_URL is not set")
    api_key: SecretStr = Field(SecretStr(""), description="where AUDIT_LOG_API_KEY is not set")

    @property
    def url(self) -> str:
        """Address of the service; empty: that of the local stack."""
        return self.log_url or self.query_url

    @property
    def key(self) -> str:
        """The API key; empty: that of a workspace of the local stack."""
        return (self.log_api_key if self.log_api_key.get_secret_value() else self.api_key).get_secret_value()


Many = list[str] | None


def _many(text: str) -> Any:  # what typer says it returns
    return typer.Option(help=text, show_default=False)


User = Annotated[Many, _many("<actor type>:<id>, or an id.")]
EventType = Annotated[Many, typer.Option("--event", help="Event type, such as auth.login_failed.")]
Category = Annotated[Many, _many("Category, such as files.")]
Source = Annotated[Many, _many("web, automation or api.")]
ActorType = Annotated[Many, _many("Type of actor, such as client.")]
Outcome = Annotated[Many, _many("success, failure or unknown.")]
Target = Annotated[Many, _many("<type>:<id>, or <type>: for all of a type.")]
App = Annotated[Many, _many("Custom app.")]
Ip = Annotated[Many, _many("Address or network.")]
Meta = Annotated[Many, _many("<key>=<value> of the metadata.")]
Words = Annotated[str | None, typer.Option("--q", help="Words that must occur.")]
Since = Annotated[str | None, typer.Option(help="From then on: an instant, a date, or a span such as 24h.")]
Until = Annotated[str | None, typer.Option(help="Before then.")]
Tz = Annotated[str | None, typer.Option(help="Zone of dates and of what is shown, such as Europe/Berlin.")]
Further = Annotated[Many, typer.Option("--filter", help="Any filter of the API as <name>=<value>, also not_<name>=….")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line.")]
DataDir = Annotated[Path, typer.Option("--data-dir", help="Folder of the local stack.")]
Workspace = Annotated[str | None, typer.Option(help="Which workspace of the local stack.")]


def search(
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
    tz: Tz = None,
    filter_: Further = None,
    limit: Annotated[int, typer.Option(min=1, help="Events to show.")] = 50,
    all_: Annotated[bool, typer.Option("--all", help="Show all that match.")] = False,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".data"),
    workspace: Workspace = None,
) -> None:
    """Show the events that match, newest first."""
    params, zone = params_of(locals()), _zone(tz)
    with ending_quietly():
        found = _client(data_dir, workspace).search(params, None if all_ else limit)
        if not _show(found, zone, as_json):
            note("no event matches")


def tail(
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
    tz: Tz = None,
    filter_: Further = None,
    as_json: AsJson = False,
    data_dir: DataDir = Path(".data"),
    workspace: Workspace = None,
) -> None:
    """Show events as they arrive, until Ctrl-C."""
    params, zone = params_of(locals()), _zone(tz)
    with ending_quietly():
        _show(_client(data_dir, workspace).follow(params), zone, as_json)


def params_of(given: dict[str, object]) -> Params:
    """The options as the API's parameters; what they may be is the service's to say."""
    found: list[tuple[str, str]] = []
    for name in _OPTIONS:
        value = given[name]
        found += [(name, str(one)) for one in (value if isinstance(value, list) else [value]) if one is not None]
    for option, prefix in (("meta", "meta."), ("filter_", "")):
        values = given[option]
        for text in values if isinstance(values, list) else []:
            name, equals, value = text.partition("=")
            if not (equals and name):
                raise typer.BadParameter(f"{text!r} is not <name>=<value>", param_hint=f"--{option.strip('_')}")
            found.append((prefix + name, value))
    return found


def _zone(name: str | None) -> tzinfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ValueError, OSError, KeyError):
        raise typer.BadParameter(f"{name!r} is not a time zone such as Europe/Berlin", param_hint="--tz") from None


def _client(data_dir: Path, workspace: str | None) -> QueryClient:
    from audit_cli.query_client import QueryClient

    return QueryClient(service(data_dir, workspace), note)


def service(data_dir: Path, workspace: str | None) -> Service:
    """The service that the settings name, or that of the local stack."""
    from audit_cli.service import Service

    settings = ReadingSettings.load()
    url, key = settings.url, settings.key
    if not (url and key):
        from audit_local.data_folder import DataFolder

        stack = DataFolder(data_dir).read()
        found = [one for one in stack.workspaces if workspace in (None, one.id)]
        address = stack.addresses.get("query_api") or ""
        # The stack's keys are for the stack alone: they are not sent to another address.
        key = key or (found[0].api_key if found and not url else "")
        url = url or address
    if not (url and key):
        raise typer.BadParameter(
            "set AUDIT_LOG_URL and AUDIT_LOG_API_KEY, or start a stack with `audit-log up`"
            + (f" that has a workspace {workspace}" if workspace else "")
        )
    return Service(url, key)


def _show(events: Iterable[Event], zone: tzinfo | None, as_json: bool) -> bool:
    """Prints events as they come; whether there were any. The head comes with the first, or there is nothing to head."""
    from audit_cli.showing import head, line, ndjson

    shown = False
    for event in events:
        if not (shown or as_json):
            print(head(zone, utc_now()))
        shown = True
        print(ndjson(event) if as_json else line(event, zone), flush=True)
    return shown


def note(text: str) -> None:
    """Tells the person at the terminal something that is no result."""
    from audit_cli.showing import safe

    print(f"audit-log: {safe(text)}", file=sys.stderr)


@contextmanager
def ending_quietly() -> Iterator[None]:
    """Ctrl-C and a reader that has enough end a command without a word; problems are told with every fault."""
    from audit_cli.service import ServiceProblem, Unreachable

    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(ENDED) from None
    except BrokenPipeError:
        # Python flushes once more at the end, into what is closed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ServiceProblem as problem:
        for text in problem.lines:
            note(text)
        raise typer.Exit(1) from None
    except Unreachable as error:
        note(str(error))
        raise typer.Exit(1) from None


def register(parent: typer.Typer) -> None:
    """Adds these commands to `audit-log`."""
    parent.command()(search)
    parent.command()(tail)
