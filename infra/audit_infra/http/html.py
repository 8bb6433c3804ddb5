"""What the reference pages of the HTTP services share."""

from __future__ import annotations

from html import escape


def marked(text: str) -> str:
    """Text as HTML, with what stands between backticks as code."""
    pieces = escape(text).split("`")
    return "".join(f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces))


__all__ = ["marked"]
