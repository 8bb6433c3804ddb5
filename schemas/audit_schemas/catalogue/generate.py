"""Writes `names.py`, so that editors complete the native names and type checkers know them.

Run `python -m audit_schemas.catalogue.generate` after a change of `types.toml`; a test fails until that is done.
"""

from __future__ import annotations

from pathlib import Path

from audit_schemas.catalogue.loader import Catalogue, load

NAMES_FILE = Path(__file__).with_name("names.py")

_HEAD = '''"""The native names as a type; made from `types.toml` by `python -m audit_schemas.catalogue.generate`."""

from __future__ import annotations

from typing import Literal

NativeEventType = Literal[
'''
_FOOT = ''']
"""Every name of the catalogue, with the aliases behind their names."""

__all__ = ["NativeEventType"]
'''


def names_source(catalogue: Catalogue) -> str:
    """The text of `names.py` for a catalogue."""
    names = [name for one in catalogue for name in (one.name, *one.aliases)]
    return _HEAD + "".join(f'    "{name}",\n' for name in names) + _FOOT


def main() -> None:
    """Writes the file beside this one."""
    NAMES_FILE.write_text(names_source(load()), "utf-8")


if __name__ == "__main__":
    main()

__all__ = ["NAMES_FILE", "main", "names_source"]
