"""All texts of the page stand in one catalogue: nothing else holds any, and none is left over."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from string import Formatter

import pytest
from jinja2 import Environment, nodes

from audit_query.web.messages import MESSAGES, say

WEB = Path(str(files("audit_query.web")))
# The reference of the API is a document of its own, made from OpenAPI.
DOCUMENTS = ("docs.html", "reference.html", "problems.html")
TEMPLATES = [path for path in sorted((WEB / "templates").glob("*.html")) if path.name not in DOCUMENTS]
SCRIPTS = sorted((WEB / "static").glob("*.js"))
MODULES = [path for path in sorted(WEB.glob("*.py")) if path.name != "messages.py"]
READ_ALOUD = ("aria-label", "aria-description", "aria-roledescription", "title", "alt", "placeholder")
KEYS = {"Enter", "Escape"}
"""Names of keys, which scripts compare with."""
CAPITAL = re.compile(r"^[A-Z][a-z]+[ .…!?]?")


class Texts(HTMLParser):
    """What people would read or hear of a template, but for what it fills in."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._inside: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style"):
            self._inside.append(tag)
        self.found += [value for name, value in attrs if name in READ_ALOUD and value]

    def handle_endtag(self, tag: str) -> None:
        if self._inside and self._inside[-1] == tag:
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.found.append(data)


def texts_in(template: str) -> list[str]:
    """Texts with a letter in them."""
    parser = Texts()
    parser.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", "", template, flags=re.DOTALL))
    return [text.strip() for text in parser.found if re.search(r"[^\W\d_]", text)]


def keys_asked_for() -> set[str]:
    """Texts by their name, or as a regular expression where the name is put together; what they are taken from."""
    found: set[str] = set()
    for path in MODULES:
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "say":
                found |= python_keys(call.args[0])
            elif isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "say_value":
                found |= {f"{kind}_.+" for kind in python_keys(call.args[0])}
    environment = Environment(autoescape=True)
    for path in TEMPLATES:
        tree = environment.parse(path.read_text("utf-8"))
        for each in tree.find_all(nodes.Call):
            if isinstance(each.node, nodes.Name) and each.node.name == "say":
                found |= template_keys(each.args[0])
        if path.name == "keys.html":
            # These stand in a list of pairs, key and text.
            found |= {const.value for const in tree.find_all(nodes.Const) if str(const.value).startswith("key_")}
    return found


def python_keys(argument: ast.expr) -> set[str]:
    match argument:
        case ast.Constant(value=str(key)):
            return {re.escape(key)}
        case ast.IfExp(body=one, orelse=other):
            return python_keys(one) | python_keys(other)
        case ast.JoinedStr(values=parts):
            return {"".join(re.escape(str(part.value)) if isinstance(part, ast.Constant) else ".+" for part in parts)}
    raise AssertionError(f"a text whose name can't be told: {ast.unparse(argument)}")


def template_keys(argument: nodes.Expr) -> set[str]:
    match argument:
        case nodes.Const(value=str(key)):
            return {re.escape(key)}
        case nodes.CondExpr(expr1=one, expr2=nodes.Expr() as other):
            return template_keys(one) | template_keys(other)
        case nodes.Concat(nodes=parts):
            return {"".join(re.escape(part.value) if isinstance(part, nodes.Const) else ".+" for part in parts)}
        case nodes.Name(name="text"):
            return set()
    raise AssertionError(f"a text whose name can't be told: {argument}")


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.name)
def test_no_template_has_a_text_of_its_own(path: Path) -> None:
    """Between tags, and in attributes that are read aloud, there is only what is filled in."""
    assert texts_in(path.read_text("utf-8")) == []


def test_a_text_in_a_template_would_be_found() -> None:
    """In an element and in an attribute; marks without a letter are none."""
    template = '<p title="Hint">{{ say("title") }} · Hello</p><script src="x.js">run()</script><a>×</a>'
    assert texts_in(template) == ["Hint", "· Hello"]


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_no_script_has_a_text_of_its_own(path: Path) -> None:
    """What a script says it reads from the page."""
    code = re.sub(r"^\s*//.*$|\s//\s.*$", "", path.read_text("utf-8"), flags=re.MULTILINE)
    literals = [text for parts in re.findall(r'"([^"\n]*)"|`([^`]*)`', code) for text in parts if text]
    assert {text for text in literals if CAPITAL.match(text) and not re.fullmatch(r"\w+-\w+", text)} <= KEYS
    assert not re.search(r"(textContent|title|placeholder|ariaLabel)\s*[=:]\s*[\"`']\s*\w", code)


def test_every_text_that_is_asked_for_exists() -> None:
    """By its name, or at least one by the beginning of it."""
    asked = keys_asked_for()
    assert {key for key in asked if not any(re.fullmatch(key, one) for one in MESSAGES)} == set()
    assert len(asked) > len(MESSAGES) / 2
    # A name put together of unknown parts alone would stand for all.
    assert [key for key in asked if not re.search(r"[a-z]{3}", key)] == []


def test_every_text_is_used() -> None:
    """None is left over from a page that was."""
    asked = keys_asked_for()
    assert {one for one in MESSAGES if not any(re.fullmatch(key, one) for key in asked)} == set()


def test_a_text_takes_named_values_only_and_both_numbers_the_same() -> None:
    """`n` chooses between one and several."""
    for key, text in MESSAGES.items():
        forms = (text,) if isinstance(text, str) else text
        named = [{name for _, name, _, _ in Formatter().parse(form) if name is not None} for form in forms]
        assert all(name.isidentifier() for name in set().union(*named)), key
        assert all(form and form == form.strip() for form in forms), key
    assert say("count", n=1, count="1") == "1 event"
    assert say("count", n=0, count="0") == "0 events"
    with pytest.raises(KeyError):
        say("no such text")
    with pytest.raises(KeyError):
        say("times_in")
