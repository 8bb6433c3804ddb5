"""`docs/exports.md` says what the code does."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from audit_infra.settings import ClickHouseSettings, ControlSettings
from audit_producers import ProducerSettings
from audit_query.exports.form import Form
from audit_query.exports.job import Asked, Export, Requester, State
from audit_query.exports.keys import SigningKey
from audit_query.exports.manifest import manifest
from audit_query.exports.request import NewExport
from audit_query.filters import Filter
from audit_query.openapi import OPERATIONS
from audit_query.settings import ExportWorkerSettings
from audit_schemas.catalogue import load
from tests.builders import NOON

TEXT = (Path(__file__).parents[2] / "docs" / "exports.md").read_text("utf-8")


def test_settings_addresses_fields_and_states_are_described() -> None:
    """Those of the worker, of the body and of a job."""
    elsewhere = {*ProducerSettings.model_fields, *ClickHouseSettings.model_fields, *ControlSettings.model_fields}
    own = ExportWorkerSettings.model_fields.keys() - elsewhere - {"self_audit_every_s", "self_audit_remembered"}
    wanted = {f"AUDIT_{name.upper()}" for name in own} | {*NewExport.model_fields} | {*get_args(State)}
    assert {name for name in wanted if f"`{name}`" not in TEXT} == set()
    paths = {one.path for one in OPERATIONS if one.path.startswith(("/v1/exports", "/v1/signing-keys"))}
    assert {path for path in paths if path not in TEXT} == set()


def test_every_field_of_the_manifest_is_described_in_its_order() -> None:
    """A row of the table begins with it."""
    asked = Asked(Requester("api_key", "k", "", ""), "enterprise", True, Form(), (), Filter())
    ended = Export("0" * 32, "w1", "job", "done", asked, NOON)
    key = SigningKey("k", "pem", Ed25519PrivateKey.generate())
    found = json.loads(manifest(replace(ended, finished_at=NOON), load(), key, software="1"))
    places, table = [], TEXT.partition("## The manifest")[2]
    for name in found:
        rows = [line for line in table.splitlines() if line.startswith("| `") and f"`{name}`" in line.split("|")[1]]
        assert rows, name
        places.append(table.index(rows[0]))
    assert places == sorted(places)
