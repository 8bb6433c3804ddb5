"""Small disks that get full when a test says so."""

from __future__ import annotations

import resource
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@dataclass
class Disk:
    """A small file system, or where that is not allowed a limit on the size of files; both refuse in mid-write."""

    folder: Path
    mounted: bool

    def fill(self, spare: int = 0) -> None:
        """Nothing more fits than this many bytes."""
        if self.mounted:
            with (self.folder / "ballast").open("wb", buffering=0) as ballast:
                with pytest.raises(OSError, match="No space left"):
                    while True:
                        ballast.write(bytes(4096))
                ballast.truncate(ballast.tell() // 4096 * 4096 - spare)
        else:
            largest = max((path.stat().st_size for path in self.folder.rglob("*") if path.is_file()), default=0)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest + spare, resource.RLIM_INFINITY))

    def free(self) -> None:
        if self.mounted:
            (self.folder / "ballast").unlink(missing_ok=True)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def mount(folder: Path, size: str) -> Iterator[bool]:
    """A file system in memory of this size; says whether it could be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True)
    try:
        yield mounted.returncode == 0
    finally:
        if mounted.returncode == 0:
            subprocess.run(["umount", "-l", folder], check=True)


__all__ = ["Disk", "mount"]
