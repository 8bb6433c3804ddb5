"""The text that explains a pack of files to whoever opens it without us. Pure.

The same manifest must give the same text for as long as its format version lasts: `audit-log check-export` finds an
edited README by making the text again. A test holds it still.
"""

from __future__ import annotations

import json
from typing import Any, Final

_TEXT: Final = """\
AUDIT LOG EXPORT

Workspace:  {workspace_id}
Export:     {export_id}
Outcome:    {outcome}{warning}
Filter:     {words}
Rows:       {rows} in {parts} part(s)
Finished:   {finished_at}

WHAT IS HERE
  manifest.json      what was asked for, what the files hold, what may be missing, and the SHA-256 of every part
  manifest.json.sig  the signature over the exact bytes of manifest.json: raw Ed25519, 64 bytes
  {files}

IS IT COMPLETE AND UNCHANGED?
With the command-line tool, without a network:
  audit-log check-export . --key key.pem

With OpenSSL 3 and sha256sum alone:
  1. Get the public key {key_id} from somewhere you trust: GET /v1/signing-keys of the audit log, or the
     people who run it. Save it as key.pem. The copy in manifest.json proves nothing: whoever forges a manifest would
     put in a key of their own.
  2. The manifest was signed with it; this prints "Signature Verified Successfully":
       openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in manifest.json -sigfile manifest.json.sig
  3. Each file has the SHA-256 that the manifest says ("sha256"), and no part is missing ("totals"):
       sha256sum {pattern}
     "content_sha256" is of the unpacked content: gzip -dc FILE | sha256sum

Together the parts, in the order of their numbers, are the export; each can be read alone.{format_note}
"""
_NOTES: Final = {
    "csv": (
        " Each begins with the header line.\n"
        "An apostrophe stands before cells that a spreadsheet would run as a formula, and before cells that begin with\n"
        'one: taking one leading apostrophe away gives back the exact value (unless "guard" says it was not applied).'
    ),
    "ndjson": " Each line is one event as JSON.",
    "parquet": "",
}


def readme(manifest: bytes) -> str:
    """README.txt of the export that this manifest is of."""
    document: dict[str, Any] = json.loads(manifest)
    files = [part["file"] for part in document["parts"]]
    form = document["output"]["format"]
    named = "(no parts)" if not files else files[0] + (f" … part-{len(files):05}" if len(files) > 1 else "")
    return _TEXT.format(
        workspace_id=document["workspace_id"],
        export_id=document["export_id"],
        outcome=document["outcome"],
        warning="" if document["outcome"] == "done" else "  (this is NOT everything that was asked for)",
        words=document["filter"]["words"],
        rows=document["totals"]["rows"],
        parts=document["totals"]["parts"],
        finished_at=document["finished_at"],
        files=f"{named:<17}  the events",
        key_id=document["signing_key"]["key_id"],
        pattern=f"audit-log-*.{form}*",
        format_note=_NOTES[form],
    )


__all__ = ["readme"]
