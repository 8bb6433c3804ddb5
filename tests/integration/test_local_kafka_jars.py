"""The broker's jars arrive whole, whatever happened to the download before."""

from __future__ import annotations

import hashlib
import http.server
import multiprocessing
import threading
from typing import TYPE_CHECKING

import pytest

from audit_local.errors import LocalStackError
from audit_local.kafka_jars import Jar, class_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CONTENT = {name: f"the jar {name}".encode() * 1000 for name in ("kafka", "clients", "logging")}
JARS = tuple(Jar("org.example", name, "1.0", hashlib.sha256(data).hexdigest()) for name, data in CONTENT.items())


class Repository(http.server.ThreadingHTTPServer):
    """A Maven repository on loopback that counts what it was asked for."""

    def __init__(self, content: dict[str, bytes]) -> None:
        self.served = {f"/org/example/{name}/1.0/{name}-1.0.jar": data for name, data in content.items()}
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def address(self) -> dict[str, str]:
        return {"local": f"http://127.0.0.1:{self.server_address[1]}"}


class Handler(http.server.BaseHTTPRequestHandler):
    server: Repository

    def do_GET(self) -> None:
        data = self.server.served.get(self.path)
        if data is not None:
            self.server.asked.append(self.path.rsplit("/", 1)[1])
        self.send_response(404 if data is None else 200)
        self.send_header("Content-Length", str(len(data or b"")))
        self.end_headers()
        self.wfile.write(data or b"")

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def repository() -> Iterator[Repository]:
    with Repository(dict(CONTENT)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_jars_are_downloaded_once(repository: Repository, tmp_path: Path) -> None:
    """The second start asks nobody."""
    first = class_path(tmp_path, jars=JARS, repositories=repository.address)
    assert [path.read_bytes() for path in first] == list(CONTENT.values())
    assert class_path(tmp_path, jars=JARS, repositories=repository.address) == first
    assert sorted(repository.asked) == ["clients-1.0.jar", "kafka-1.0.jar", "logging-1.0.jar"]


def test_an_interrupted_download_is_taken_up_again(repository: Repository, tmp_path: Path) -> None:
    """What arrived whole is kept, what was cut short is fetched anew."""
    del repository.served["/org/example/logging/1.0/logging-1.0.jar"]
    with pytest.raises(LocalStackError, match=r"logging-1\.0\.jar could not be downloaded"):
        class_path(tmp_path, jars=JARS, repositories=repository.address)
    (kept,) = tmp_path.rglob("clients-1.0.jar")
    kept.write_bytes(kept.read_bytes()[:-1])

    repository.asked.clear()
    repository.served["/org/example/logging/1.0/logging-1.0.jar"] = CONTENT["logging"]
    found = class_path(tmp_path, jars=JARS, repositories=repository.address)
    assert [path.read_bytes() for path in found] == list(CONTENT.values())
    assert sorted(repository.asked) == ["clients-1.0.jar", "logging-1.0.jar"]


def test_a_jar_of_other_content_is_refused(repository: Repository, tmp_path: Path) -> None:
    """A repository that serves something else does not get it onto the class path."""
    repository.served["/org/example/kafka/1.0/kafka-1.0.jar"] = b"something else"
    with pytest.raises(LocalStackError, match=r"kafka-1\.0\.jar could not be downloaded: .*SHA-256"):
        class_path(tmp_path, jars=JARS, repositories=repository.address)


def test_first_starts_at_the_same_time_download_once(repository: Repository, tmp_path: Path) -> None:
    """Two test runs on a fresh machine wait for one download."""
    spawn = multiprocessing.get_context("spawn")
    with spawn.Pool(3) as pool:
        found = pool.starmap(class_path_from, [(tmp_path, repository.address)] * 3)
    assert found[0] == found[1] == found[2]
    assert sorted(repository.asked) == ["clients-1.0.jar", "kafka-1.0.jar", "logging-1.0.jar"]


def class_path_from(cache: Path, address: dict[str, str]) -> tuple[Path, ...]:
    return class_path(cache, jars=JARS, repositories=address)
