"""Where the broker's jars come from: Maven Central through jgo, each checked against its recorded SHA-256."""

from __future__ import annotations

import hashlib
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

from audit_local.cache import cache_folder
from audit_local.errors import LocalStackError
from audit_local.file_lock import exclusive

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

ATTEMPTS = 3
PARALLEL_DOWNLOADS = 8


@dataclass(frozen=True)
class Jar:
    """One line of `kafka_jars.txt`."""

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"

    def is_at(self, path: Path) -> bool:
        """Whether the file is there and whole; jgo itself keeps what an interrupted download left."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == self.sha256


def parse(text: str) -> tuple[Jar, ...]:
    """Reads `group:artifact:version sha256` lines; blank lines and `#` comments are skipped."""
    lines = (line.split() for line in text.splitlines() if line and not line.startswith("#"))
    return tuple(Jar(*_three(coordinate), sha256) for coordinate, sha256 in lines)


def _three(coordinate: str) -> tuple[str, str, str]:
    group, artifact, version = coordinate.split(":")
    return group, artifact, version


def pinned() -> tuple[Jar, ...]:
    """The jars of the one Kafka version that this project runs."""
    return parse(resources.files("audit_local").joinpath("kafka_jars.txt").read_text())


def class_path(
    cache: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    jars: Sequence[Jar] = (),
    repositories: Mapping[str, str] | None = None,
) -> tuple[Path, ...]:
    """The jars as local files, downloaded on the first call; raises `LocalStackError` when they can't be had.

    Safe to call from several processes at once, and after an interrupted download: a complete folder appears by one
    rename, and the jars that arrived whole before the interruption are kept. `jars` are the pinned ones and
    `repositories` (name to address) Maven Central and those of the user's jgo settings, unless given.
    """
    jars = jars or pinned()
    contents = hashlib.sha256("".join(jar.sha256 for jar in jars).encode()).hexdigest()[:8]
    target = (cache or cache_folder()) / f"kafka-{jars[0].version}-{contents}"
    if not target.is_dir():
        with exclusive(target.with_name(f"{target.name}.lock"), wait=True):
            if not target.is_dir():
                say(f"downloading Kafka {jars[0].version} ({len(jars)} jars, 43 MB), once for this user")
                _fill(target, jars, repositories or _repositories())
    return tuple(target / jar.file_name for jar in jars)


def _fill(target: Path, jars: Sequence[Jar], repositories: Mapping[str, str]) -> None:
    repository = target.with_name(f"{target.name}.repository")
    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        paths = list(pool.map(lambda jar: _download(jar, repository, repositories), jars))
    staged = target.with_name(f"{target.name}.staged")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir()
    for path in paths:
        shutil.copyfile(path, staged / path.name)
    staged.rename(target)
    shutil.rmtree(repository, ignore_errors=True)


def _repositories() -> dict[str, str]:
    from jgo.config import GlobalSettings
    from jgo.constants import MAVEN_CENTRAL_URL

    return {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}


def _download(jar: Jar, repository: Path, remote: Mapping[str, str]) -> Path:
    from jgo.maven import MavenContext  # half a second of imports that only the first start has to pay

    path = repository.joinpath(*jar.group.split("."), jar.artifact, jar.version, jar.file_name)
    problem = "the file does not have the recorded SHA-256"
    for _ in range(ATTEMPTS):
        if jar.is_at(path):
            return path
        path.unlink(missing_ok=True)
        context = MavenContext(repo_cache=repository, local_repos=[], remote_repos=dict(remote), timeout=30)
        try:
            context.project(jar.group, jar.artifact).at_version(jar.version).artifact().resolve()
        except (OSError, RuntimeError, ValueError) as error:
            problem = f"{type(error).__name__}: {error}"
    if jar.is_at(path):
        return path
    raise LocalStackError(f"Kafka's {jar.file_name} could not be downloaded: {problem}")


__all__ = ["Jar", "class_path", "parse", "pinned"]
