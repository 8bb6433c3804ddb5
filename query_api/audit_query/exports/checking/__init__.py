"""Checks a pack, an export as files in a folder, against its signed manifest: no network, no database, no settings."""

from audit_query.exports.checking.check import MANIFEST, README, SIGNATURE, check
from audit_query.exports.checking.folder import Folder, Unusable
from audit_query.exports.checking.manifest import safe_name
from audit_query.exports.checking.report import Fault, Report, Verdict
from audit_query.exports.checking.signature import PublicKey, public_key

__all__ = [
    "MANIFEST",
    "README",
    "SIGNATURE",
    "Fault",
    "Folder",
    "PublicKey",
    "Report",
    "Unusable",
    "Verdict",
    "check",
    "public_key",
    "safe_name",
]
