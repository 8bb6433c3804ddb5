"""Serves a pack as an export job, with the faults that a test asks for: what a real service does not do on demand."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import defaultdict
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.support.packs import Pack


@dataclass(frozen=True)
class Fault:
    """What becomes of one answer: another status, an end after some bytes, a flipped bit, no heed of Range."""

    status: int = 0
    retry_after: str = ""
    cut_after: int | None = None
    damaged: bool = False
    whole: bool = False
    shifted: int = 0


@dataclass(frozen=True)
class Request:
    """One request that came."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class ExportServer:
    """`steps` are the states that one request after the other finds, the last for ever; with how many parts are ready."""

    pack: Pack
    steps: list[tuple[str, int]] = field(default_factory=lambda: [("done", 99)])
    faults: dict[str, list[Fault]] = field(default_factory=lambda: defaultdict(list))
    changes: dict[str, Any] = field(default_factory=dict)
    """Fields of the job that are not as they should be."""
    keys: list[dict[str, str]] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = str(self.pack.manifest["export_id"])
        self.keys = self.keys or [dict(self.pack.manifest["signing_key"])]
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server._answer(self)

            def do_POST(self) -> None:
                server._answer(self)

            def log_message(self, format: str, *args: Any) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def asked(self, ending: str) -> list[Request]:
        """The requests whose address ends so."""
        return [one for one in self.requests if one.path.endswith(ending)]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _job(self) -> dict[str, Any]:
        state, ready = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        names = ("number", "file", "rows", "bytes", "sha256")
        parts = [{name: part[name] for name in names} for part in self.pack.manifest["parts"][:ready]]
        done = sum(part["rows"] for part in parts)
        error = {"type": "disk-full", "detail": "no space is left"} if state == "failed" else None
        job = {"id": self.id, "state": state, "rows_done": done, "rows_total": None, "parts": parts, "error": error}
        return job | self.changes

    def _answer(self, to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers.get("Content-Length", 0)))
        self.requests.append(Request(to.command, to.path, dict(to.headers), body))
        faults = next((found for ending, found in self.faults.items() if to.path.endswith(ending) and found), None)
        fault = faults.pop(0) if faults else Fault()
        if fault.status:
            problem = json.dumps({"detail": f"told to answer {fault.status}"}).encode()
            return self._send(
                to, fault.status, problem, {"Retry-After": fault.retry_after} if fault.retry_after else {}
            )
        ending = to.path.removeprefix("/v1/exports").removeprefix(f"/{self.id}")
        if ending.startswith("/parts/"):
            return self._part(to, int(ending.rsplit("/", 1)[-1]), fault)
        folder = self.pack.folder
        if to.path == "/v1/signing-keys":
            data = json.dumps({"data": self.keys}).encode()
        elif ending == "/manifest":
            data = (folder / "manifest.json").read_bytes()
        elif ending == "/manifest.sig":
            data = (folder / "manifest.json.sig").read_bytes()
        elif ending == "/readme":
            data = (folder / "README.txt").read_bytes()
        else:
            data = json.dumps(self._job()).encode()
        return self._send(to, 202 if to.command == "POST" else 200, data, {}, fault.cut_after)

    def _part(self, to: BaseHTTPRequestHandler, number: int, fault: Fault) -> None:
        data = self.pack.file(number).read_bytes()
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        start = int(to.headers.get("Range", "bytes=0-")[6:-1])
        if fault.whole or to.headers.get("If-Range", tag) != tag:
            start = 0
        if fault.damaged:
            data = data[:-1] + bytes([data[-1] ^ 1])
        headers = {"ETag": tag}
        if start:
            headers["Content-Range"] = f"bytes {start + fault.shifted}-{len(data) - 1}/{len(data)}"
        self._send(to, 206 if start else 200, data[start:], headers, fault.cut_after)

    def _send(
        self, to: BaseHTTPRequestHandler, status: int, data: bytes, headers: Mapping[str, str], cut: int | None = None
    ) -> None:
        to.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(data))}.items():
            to.send_header(name, value)
        to.end_headers()
        to.wfile.write(data if cut is None else data[:cut])
        to.wfile.flush()
        to.close_connection = True


__all__ = ["ExportServer", "Fault", "Request"]
