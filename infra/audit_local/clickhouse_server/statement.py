"""What a query is, as far as HTTP must know: where inserted data begins, where a FORMAT clause stands. No full parser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from audit_local.clickhouse_server.errors import Code, ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN: Final = re.compile(
    rb"""
      (?P<blank> \s+ | --[^\n]* | \#[ !][^\n]* | /\*.*?(?:\*/|\Z) )
    | (?P<text> '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*` | \$(?P<tag>\w*)\$.*?\$(?P=tag)\$ )
    | (?P<word> [A-Za-z_]\w* )
    | (?P<open> [(\[{] )
    | (?P<close> [)\]}] )
    | (?P<end> ; )
    | (?P<other> [0-9]\w* | . )
    """,
    re.VERBOSE | re.DOTALL,
)
# The server's rule: blanks, then one line break, and what follows is data.
_BEFORE_DATA: Final = re.compile(rb"[ \t\f]*\r?\n?")
_READS: Final = frozenset({b"SELECT", b"WITH", b"FROM"})


@dataclass(frozen=True, slots=True)
class DataInsert:
    """`INSERT INTO … FORMAT name` followed by data: `head` is the statement up to FORMAT."""

    head: bytes
    format: str
    data_at: int


@dataclass(frozen=True, slots=True)
class Read:
    """A SELECT: `body` without its FORMAT clause, `tail` is what stood after the format's name (SETTINGS …)."""

    body: bytes
    format: str | None
    tail: bytes


@dataclass(frozen=True, slots=True)
class Other:
    """Anything else, run as it is; `format` is what it asks for, if anything."""

    text: bytes
    format: str | None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: bytes
    start: int
    end: int

    @property
    def word(self) -> bytes:
        return self.text.upper() if self.kind == "word" else b""


def insert_at_start(text: bytes) -> DataInsert | None:
    """The INSERT with data that begins in `text`, when its statement ends there too; more may follow."""
    tokens = _top_level(text)
    first = next(tokens, None)
    insert = _data_insert(text, tokens) if first is not None and first.word == b"INSERT" else None
    return insert if insert is not None and insert.data_at < len(text) else None


def analyse(query: bytes) -> DataInsert | Read | Other:
    """What `query` is; raises `ServerError` for several statements in one request, and for INTO OUTFILE."""
    tokens = _top_level(query)
    first = next(tokens, None)
    if first is None:
        raise ServerError.of(Code.SYNTAX_ERROR, "Syntax error: empty query")
    if first.word == b"INSERT":
        return _data_insert(query, tokens) or Other(query, None)
    return _whole(query, first, tokens)


def _data_insert(query: bytes, tokens: Iterator[_Token]) -> DataInsert | None:
    """The INSERT whose data follows FORMAT; None for VALUES, SELECT and FROM INFILE, which the engine reads itself."""
    named = False
    for token in tokens:
        if not named:
            # The name of the table comes after INTO [TABLE | FUNCTION] and may itself read `format`.
            named = token.word not in {b"INTO", b"TABLE", b"FUNCTION"}
        elif token.word in _READS or token.word in {b"VALUES", b"SELECT"}:
            return None
        elif token.word == b"FORMAT":
            name = next(tokens, None)
            if name is None or name.kind != "word" or name.word == b"VALUES":
                return None
            blank = _BEFORE_DATA.match(query, name.end)
            return DataInsert(query[: token.start], name.text.decode(), blank.end() if blank else name.end)
    return None


def _whole(query: bytes, first: _Token, rest: Iterator[_Token]) -> Read | Other:
    tokens = [first, *rest]
    for number, token in enumerate(tokens):
        if token.kind == "end":
            if any(later.kind != "end" for later in tokens[number:]):
                raise ServerError.of(Code.SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
            query, tokens = query[: token.start], tokens[:number]
            break
        if token.word == b"INTO" and number + 1 < len(tokens) and tokens[number + 1].word == b"OUTFILE":
            raise ServerError.of(Code.INTO_OUTFILE_NOT_ALLOWED, "INTO OUTFILE is not allowed")
    clause = _format_clause(tokens)
    form = clause[1].text.decode() if clause else None
    # A leading parenthesis holds a SELECT of a UNION; WITH may lead an INSERT.
    reads = first.word in _READS or first.text == b"("
    if not reads or (first.word == b"WITH" and any(token.word == b"INSERT" for token in tokens)):
        return Other(query, form)
    cut, tail = (clause[0].start, clause[1].end) if clause else (len(query), len(query))
    return Read(query[:cut], form, query[tail:])


def _format_clause(tokens: list[_Token]) -> tuple[_Token, _Token] | None:
    """FORMAT and the name after it, when nothing or SETTINGS follows: a column may be called `format` too."""
    for number in range(len(tokens) - 2, -1, -1):
        keyword, name = tokens[number], tokens[number + 1]
        if keyword.word == b"FORMAT" and name.kind == "word":
            after = tokens[number + 2 : number + 3]
            return (keyword, name) if not after or after[0].word == b"SETTINGS" else None
    return None


def _top_level(query: bytes) -> Iterator[_Token]:
    """The tokens outside of all brackets, an opening bracket included; comments and blanks left out."""
    depth = 0
    for found in _TOKEN.finditer(query):
        kind = found.lastgroup if found.lastgroup != "tag" else "text"
        if kind == "close":
            depth = max(0, depth - 1)
        elif kind != "blank" and kind is not None:
            if depth == 0:
                yield _Token(kind, found[0], found.start(), found.end())
            if kind == "open":
                depth += 1
