"""The description of the API is a valid OpenAPI document, complete, and true to the code."""

from __future__ import annotations

import re
from typing import Any

import jsonschema_rs
from openapi_spec_validator import OpenAPIV31SpecValidator
from pydantic import SecretStr
from starlette.routing import Route

from audit_query.app import create_app
from audit_query.exports.download import COLUMNS
from audit_query.exports.download import PARAMETERS as EXPORT_PARAMETERS
from audit_query.filters import META, NOT, PAGING, PARAMETERS, RANGE
from audit_query.openapi import OPERATIONS, document, parameters
from audit_query.openapi.problem_examples import PROBLEM_EXAMPLES
from audit_query.openapi.reference import problems_page, reference_page
from audit_query.problems import TYPES
from audit_query.settings import QuerySettings


def fits(value: Any, schema: dict[str, Any]) -> None:
    """Raises when the value is not what the schema says."""
    validator = jsonschema_rs.Draft202012Validator(
        {**schema, "components": document()["components"]}, validate_formats=True
    )
    validator.validate(value)


def test_the_document_is_valid() -> None:
    """As the meta-schema of OpenAPI 3.1 and its rules beyond say."""
    assert list(OpenAPIV31SpecValidator(document()).iter_errors()) == []


def test_every_address_is_described() -> None:
    """The routes under `/v1` of the application, no more and no fewer."""
    settings = QuerySettings.model_validate(
        {"control_database_url": "sqlite://", "signing_keys": SecretStr("a signing key for tests")}
    )
    routes = {
        (route.path, method.lower())
        for route in create_app(settings).routes
        if isinstance(route, Route) and route.path.startswith("/v1")
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert routes == {(one.path, one.method) for one in OPERATIONS}
    assert len({one.name for one in OPERATIONS}) == len(OPERATIONS)


def test_every_parameter_has_a_text_and_an_example_that_fits() -> None:
    """Those of the modules that take them, no more and no fewer."""
    taken = {one.name for one in parameters.FILTERS}
    plain = {one.name for one in PARAMETERS} - {META}
    assert taken == plain | {NOT + name for name in plain} | {"meta", *RANGE}
    assert {one.name for one in parameters.PAGING} == set(PAGING)
    assert {one.name for one in parameters.EXPORT} == {*EXPORT_PARAMETERS, COLUMNS}
    for operation in OPERATIONS:
        for one in operation.parameters:
            described = one.described()
            assert len(described["description"]) > 5, one.name
            fits(described["example"], described["schema"])


def test_every_example_of_an_answer_fits_its_schema() -> None:
    """Answers and problems, in every form they are given."""
    for ways in document()["paths"].values():
        for operation in ways.values():
            answers = [found for status, found in operation["responses"].items() if status in ("200", "201")]
            for found in (*answers, operation.get("requestBody", {"content": {}})):
                for media in found["content"].values():
                    fits(media["example"], media["schema"])
    assert set(PROBLEM_EXAMPLES) == set(TYPES)
    for response in document()["components"]["responses"].values():
        (content,) = response["content"].values()
        for example in content["examples"].values():
            fits(example["value"], content["schema"])


def test_the_pages_show_everything_and_load_nothing_of_others() -> None:
    """Addresses, parameters, headers and problems; anchors lead somewhere; no script."""
    page, problems = reference_page(), problems_page()
    for operation in OPERATIONS:
        assert f'<section id="{operation.name}">' in page
        for kind in operation.all_problems:
            assert f'<section id="{kind.name}">' in problems
    for name in {one.name.removeprefix(NOT) for operation in OPERATIONS for one in operation.parameters}:
        assert f"<code>{name}</code>" in page or f"<code>{name}.&lt;key&gt;</code>" in page
    for kind in TYPES:
        assert kind.uri in problems
    for text in (page, problems):
        assert "<script" not in text
        assert not re.search(r"(src|href)=.https?:", text)
