"""The reference for people: the tables of the API as two pages, without scripts and without anybody else's assets."""

from __future__ import annotations

import functools
import json
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from audit_infra.http.html import json_text, marked
from audit_query.filters import NOT
from audit_query.openapi.document import HEADERS
from audit_query.openapi.operation import JSON, Answer, Operation
from audit_query.openapi.operations import OPERATIONS
from audit_query.openapi.parameters import FILTERS, JsonSchema, Parameter
from audit_query.openapi.problem_examples import PROBLEM_EXAMPLES
from audit_query.openapi.shapes import EVENT
from audit_query.problems import TYPES

POLICY: Final = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'"
"""The pages' Content-Security-Policy: nothing runs, nothing of others is loaded."""
_BASE: Final = "https://audit.example.com"
_WIDTH: Final = 88
_MANY: Final = 6
"""Values that stand better in the text than in a narrow column."""


@functools.cache
def reference_page() -> str:
    """`/docs`: every address with its parameters, a request, an answer and its problems."""
    return (
        _environment()
        .get_template("reference.html")
        .render(
            tags=dict.fromkeys(one.tag for one in OPERATIONS),
            operations=OPERATIONS,
            filters=[one for one in FILTERS if not one.name.startswith(NOT)],
            event=EVENT,
            headers=HEADERS,
        )
    )


@functools.cache
def problems_page() -> str:
    """`/docs/problems`: every type of problem, what it means and what to do."""
    return _environment().get_template("problems.html").render(types=TYPES, examples=PROBLEM_EXAMPLES)


def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("audit_query", "web/templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"marked": lambda text: Markup(marked(text)), "json": functools.partial(json_text, width=_WIDTH)}  # noqa: S704  # `marked` escapes
    made.globals |= {"takes": _takes, "own": _own, "named": _named, "curl": _curl, "shown": _shown, "example": _example}
    return made


def _own(one: Operation) -> list[Parameter]:
    """The parameters that are not the filters all questions about events share."""
    return [each for each in one.parameters if each not in FILTERS]


def _named(one: Parameter) -> str:
    """The name; of many names what they have in common."""
    return f"{one.name}.<key>" if isinstance(one.example, dict) else one.name


def _example(one: Parameter) -> str:
    """A parameter as it stands in an address, before percent-encoding."""
    if isinstance(one.example, dict):
        return "&".join(f"{name}={value}" for name, value in one.example.items())
    return str(one.example) if one.place == "path" else f"{one.name}={one.example}"


def _curl(one: Operation) -> str:
    """The request of the example."""
    address = one.path
    for each in one.parameters:
        address = address.replace(f"{{{each.name}}}", str(each.example))
    address += f"?{one.sample}" if one.sample else ""
    if one.method != "get":
        sent = f" \\\n  -H 'Content-Type: application/json' -d '{json.dumps(one.body[1])}'" if one.body else ""
        return f'curl -X {one.method.upper()} -H "X-API-Key: $KEY"{sent} \\\n  "{_BASE}{address}"'
    return f'curl -H "X-API-Key: $KEY" \\\n  "{_BASE}{address}"'


def _shown(answer: Answer) -> str:
    """An answer as it is sent, but for line breaks in JSON."""
    if isinstance(answer.example, str):
        return answer.example
    return json_text(answer.example, _WIDTH) if answer.media == JSON else json.dumps(answer.example, ensure_ascii=False)


def _takes(schema: JsonSchema) -> str:
    """What a parameter or field takes, in a few words."""
    if schema.get("type") == "array":
        return (
            f"{_takes(schema['items'])}, repeatable" if "maxItems" in schema else f"list of {_takes(schema['items'])}"
        )
    if "anyOf" in schema:
        return " or ".join(_takes(one) for one in schema["anyOf"])
    if "enum" in schema:
        few = " | ".join(schema["enum"]) if len(schema["enum"]) < _MANY else f"one of {len(schema['enum'])}"
        return few + (f" ({schema['default']} by default)" if "default" in schema else "")
    if "additionalProperties" in schema:
        return f"{_takes(schema['additionalProperties'])}, repeatable"
    if "properties" in schema:
        return f"{{{', '.join(schema['properties'])}}}"
    if "minimum" in schema and "maximum" in schema:
        return f"{schema['minimum']} to {schema['maximum']}, {schema['default']} by default"
    kinds: list[str] = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    words = {"string": "time" if schema.get("format") == "date-time" else "text", "boolean": "true | false"}
    return " or ".join(words.get(one, one) for one in kinds)


__all__ = ["POLICY", "problems_page", "reference_page"]
