"""`audit-log check-export`: whether a folder holds an export as it was signed, without asking anybody."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand

from audit_cli.reading import ENDED, note

if TYPE_CHECKING:
    from audit_query.exports.checking import PublicKey, Report, Verdict

UNUSABLE = os.EX_USAGE
"""Status when nothing could be checked. Not 2, as for other commands: that says something about the export."""
_MOST_KEY = 64 * 1024
"""Bytes of a file with a key."""
AsJson = Annotated[bool, typer.Option("--json", help="Print the report as JSON.")]
KeyFile = Annotated[Path | None, typer.Option("--key", help="PEM file of the public key to trust, and no other.")]


class _OwnStatus(TyperCommand):
    """A command whose wrong options end it with another status than 2."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            # What the library raises for wrong usage has no public name; its status is its mark.
            if getattr(error, "exit_code", 0) == 2:
                error.exit_code = UNUSABLE  # type: ignore[attr-defined]  # see above
            raise


def check_export(
    folder: Annotated[Path, typer.Argument(help="Folder with manifest.json, its signature and the parts.")],
    key: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Check an export offline: every edited, cut, swapped, missing or added part is named, and an edited manifest.

    Status 0: intact, and signed by the key of --key. 1: not intact. 2: intact, but without --key nobody knows who signed
    it. 3: intact, but the export itself was cancelled or failed. 64: there is nothing to check.
    """
    from audit_cli.progress import bar
    from audit_query.exports.checking import Unusable, check

    try:
        trusted = trusted_key(key)
        size = sum(one.stat(follow_symlinks=False).st_size for one in os.scandir(folder)) if folder.is_dir() else 0
        with bar("checking", size) as progress:
            report = check(folder, trusted, progress)
    except Unusable as error:
        _end(str(error), UNUSABLE)
    except OSError as error:
        _end(f"{error.filename or folder}: {error.strerror}", UNUSABLE)
    except KeyboardInterrupt:
        raise typer.Exit(ENDED) from None
    show(report, as_json=as_json)
    raise typer.Exit(status(report.verdict))


def trusted_key(path: Path | None) -> PublicKey | None:
    """The key of the file. Raises `Unusable` with the name of a file that has none."""
    from audit_query.exports.checking import Unusable, public_key

    if path is None:
        return None
    try:
        with path.open("rb") as file:
            return public_key(file.read(_MOST_KEY))
    except OSError as error:
        raise Unusable(f"{path}: {error.strerror}") from None
    except Unusable as error:
        raise Unusable(f"{path} {error}") from None


def status(verdict: Verdict) -> int:
    """What the command ends with."""
    from audit_query.exports.checking import Verdict

    return {Verdict.INTACT: 0, Verdict.FAULTY: 1, Verdict.UNVERIFIED: 2, Verdict.INCOMPLETE: 3}[verdict]


def show(report: Report, *, as_json: bool) -> None:
    """Prints a report: faults, what could not be checked, and the verdict in the last line."""
    if as_json:
        print(json.dumps(report.as_json(), indent=2))
        return
    from audit_cli.showing import safe

    lines = [*map(str, report.faults), *(f"note: {one}" for one in report.notes)]
    if report.export_id:
        rows = "unknown rows" if report.rows is None else _number(report.rows, "row")
        size = f"{rows} in {_number(report.parts, 'part')}, {_number(report.bytes, 'byte')}"
        lines.append(f"export {report.export_id} of workspace {report.workspace_id}: {size}")
    print("\n".join(map(safe, [*lines, _verdict(report)])))


def _verdict(report: Report) -> str:
    from audit_query.exports.checking import Verdict

    signer = f"signed by {report.key_id}" if report.signer_verified else "signer not verified"
    if report.verdict is Verdict.FAULTY:
        return f"not intact: {_number(len(report.faults), 'fault')}"
    if report.verdict is Verdict.INCOMPLETE:
        return f"intact, {signer}, but not complete: the export ended as {report.outcome}"
    return f"intact, {signer}"


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _end(why: str, code: int) -> NoReturn:
    note(why)
    raise typer.Exit(code)


def register(parent: typer.Typer) -> None:
    """Adds this command to `audit-log`."""
    parent.command("check-export", cls=_OwnStatus)(check_export)
