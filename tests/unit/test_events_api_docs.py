"""`docs/events-api.md`, the reference page and the OpenAPI document say what the code does."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from audit_infra import http as shared
from audit_producers import events_api
from audit_producers.events_api import examples
from audit_producers.events_api.openapi import document
from audit_producers.events_api.problem_types import TYPES
from audit_producers.events_api.refusals import Reason
from audit_producers.events_api.settings import EventsApiSettings
from audit_producers.settings import ProducerSettings
from tests.support.problems import described_in, types_made_in

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "events-api.md"


def test_everything_a_caller_or_operator_can_use_is_described() -> None:
    """Addresses, methods, fields, settings of this service, and reasons of refusal."""
    text = DOCS.read_text("utf-8")
    own = set(EventsApiSettings.model_fields) - set(ProducerSettings.model_fields)
    wanted = {f"AUDIT_{name.upper()}" for name in own} | {reason.value for reason in Reason}
    wanted |= set(document()["components"]["schemas"]["Event"]["properties"])
    assert {name for name in wanted if f"`{name}`" not in text} == set()
    for path, methods in document()["paths"].items():
        for method in methods:
            assert f"`{method.upper()} {path}`" in text


def test_every_type_of_problem_is_known() -> None:
    """What the code can answer stands in one table, in the document and among the examples, no more and no fewer."""
    assert set(TYPES) == types_made_in(events_api, shared)
    assert len({kind.name for kind in TYPES}) == len(TYPES)
    assert {known.kind for known in examples.KNOWN} == set(TYPES)
    assert described_in(DOCS) == {(kind.name, kind.status) for kind in TYPES}


def test_the_examples_fit_the_schemas() -> None:
    """Each request, answer and problem of the document is what its schema says."""
    found = document()
    for ways in found["paths"].values():
        for operation in ways.values():
            contents = [operation["requestBody"]] if "requestBody" in operation else []
            for content in [*contents, *operation["responses"].values()]:
                for media in content["content"].values():
                    schema = {**media["schema"], "components": found["components"]}
                    validator = jsonschema_rs.Draft202012Validator(schema, validate_formats=True)
                    assert media["examples"]
                    for example in media["examples"].values():
                        validator.validate(example["value"])


def test_settings_that_contradict_each_other_are_refused() -> None:
    """A lease must outlive an attempt, rates and proxies must be ones."""
    for bad in (
        {"idempotency_lease_s": 10, "durable_timeout_s": 9},
        {"rate_limit_events": "lots"},
        {"rate_limit_requests": ""},
        {"trusted_proxies": "10.0.0.0/8,here"},
    ):
        with pytest.raises(ValueError, match="validation error"):
            EventsApiSettings.model_validate(bad)
    assert len(EventsApiSettings.model_validate({"trusted_proxies": "10.0.0.0/8, ::1"}).proxies) == 2
