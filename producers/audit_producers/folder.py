"""The folder of spools: which process may have which file, and which files nobody has any more.

Each spool has a lock file, held with `flock` for as long as its process lives. Whether a process lives is never asked
by its id: ids are reused, and containers share them. A lock file may be removed while another process waits for it, so
whoever gets a lock looks whether the file is still the one in the folder. A forked child inherits its parent's locks
and would keep them beyond the parent's end, so it closes its copies before it does anything else.
"""

from __future__ import annotations

import fcntl
import itertools
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from audit_producers.forks import unforked
from audit_producers.ports import SpoolUnavailable

SUFFIX, LOCK, DAMAGED = ".spool", ".lock", ".damaged"
_log = logging.getLogger("audit_producers")


class Claim:
    """The right to one spool. Ends with `release`, or with the process, however it ends."""

    def __init__(self, lock: Path, number: int) -> None:
        self._lock, self._number = lock, number

    @property
    def spool(self) -> Path:
        """The spool's file."""
        return self._lock.with_suffix(SUFFIX)

    @property
    def name(self) -> str:
        """The spool's name: the id of the producer instance that made it."""
        return self._lock.stem

    def release(self, *, remove: bool) -> None:
        """Gives the spool back, or removes it, which its owner does with an empty one."""
        try:
            if remove:
                for path in (self.spool, *_beside(self.spool), self._lock):
                    path.unlink(missing_ok=True)
        except OSError as error:
            # Nothing is lost: it is an empty spool for the next process that looks.
            _log.warning("the spool %s can't be removed: %s", self.spool, error.strerror)
        finally:
            _close(self._number)

    def set_aside(self) -> Path:
        """Renames a spool that holds damaged events, so that people find it and no process opens it; its new name.

        Raises `SpoolUnavailable` when the folder does not allow it; the spool stays where it is then.
        """
        try:
            aside = self._free_name()
            # The log first: a spool without its log would be an older one, a log without its spool is removed.
            for path in _beside(self.spool):
                if path.exists():
                    path.rename(str(aside) + path.name.removeprefix(self.spool.name))
            if self.spool.exists():
                self.spool.rename(aside)
            self._lock.unlink(missing_ok=True)
        except OSError as error:
            raise SpoolUnavailable(f"the spool {self.spool} can't be set aside: {error.strerror}") from None
        finally:
            _close(self._number)
        return aside

    def _free_name(self) -> Path:
        """A process may have to set aside several spools of one name."""
        names = (self.spool.with_suffix(f"{DAMAGED}{count or ''}") for count in itertools.count())
        return next(name for name in names if not name.exists())


def prepare(folder: Path) -> None:
    """Makes the folder, readable by its owner alone. Raises `SpoolUnavailable` when it can't be written."""
    try:
        missing = [path for path in (folder, *folder.parents) if not path.exists()]
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for made in missing:
            sync(made.parent)
    except OSError as error:
        raise SpoolUnavailable(f"the spool folder {folder} can't be made: {error.strerror}") from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise SpoolUnavailable(f"the spool folder {folder} can't be written")


def sync(folder: Path) -> None:
    """What is new in a folder is durable only when the folder is. Raises `OSError`."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def claim(folder: Path, name: str) -> Claim | None:
    """The right to the spool of this name; None when another process has it, or had it a moment ago."""
    lock = folder / f"{name}{LOCK}"
    with unforked:
        try:
            number = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SpoolUnavailable(f"the spool folder {folder} can't be used: {error.strerror}") from None
        _OPEN.add(number)
    claimed = False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        claimed = os.path.samestat(os.fstat(number), lock.stat())
    except (BlockingIOError, FileNotFoundError):
        return None
    except OSError as error:
        raise SpoolUnavailable(f"the lock {lock} can't be had: {error.strerror}") from None
    finally:
        if not claimed:
            _close(number)
    return Claim(lock, number) if claimed else None


def orphans(folder: Path) -> Iterator[Claim]:
    """Spools that no living process has, one after the other, each claimed for the caller."""
    for spool in sorted(folder.glob(f"*{SUFFIX}")):
        found = claim(folder, spool.stem)
        if found is not None and not spool.exists():
            # Emptied and removed by its owner between our look and our lock.
            found.release(remove=True)
        elif found is not None:
            yield found
    for lock in folder.glob(f"*{LOCK}"):
        # Left by a process that died before it made its spool.
        if not lock.with_suffix(SUFFIX).exists() and (found := claim(folder, lock.stem)) is not None:
            found.release(remove=not found.spool.exists())


# Opened and noted here without a fork between the two.
_OPEN: set[int] = set()


def _close(number: int) -> None:
    with unforked:
        _OPEN.discard(number)
        os.close(number)


def _after_fork_in_child() -> None:
    for number in _OPEN:
        os.close(number)
    _OPEN.clear()


os.register_at_fork(after_in_child=_after_fork_in_child)


def _beside(spool: Path) -> tuple[Path, ...]:
    return tuple(spool.with_name(spool.name + ending) for ending in ("-wal", "-shm", "-journal"))


__all__ = ["Claim", "claim", "orphans", "prepare", "sync"]
