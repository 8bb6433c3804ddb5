"""What the reference pages of the HTTP services share."""

from __future__ import annotations

import json
from html import escape
from typing import Any


def marked(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


def json_text(value: Any, width: int, indent: str = "") -> str:
    """JSON for people: what fits on a line of `width` characters stands on one."""
    line = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(line) <= width or not isinstance(value, (dict, list)):
        return line
    deeper = indent + "  "
    if isinstance(value, dict):
        inner = [f"{deeper}{json.dumps(name)}: {json_text(one, width, deeper)}" for name, one in value.items()]
        return "{\n" + ",\n".join(inner) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + json_text(one, width, deeper) for one in value) + f"\n{indent}]"


__all__ = ["json_text", "marked"]
