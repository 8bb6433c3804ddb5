"""What no fork may interrupt: a child inherits every lock as it is, and nobody there releases one that was held.

SQLite and Kafka's client have locks for the whole process, the interpreter one for each module that is being imported.
None of them can be made anew in the child, so a fork waits until no thread of ours holds any.
"""

from __future__ import annotations

import os
import threading

unforked = threading.RLock()
"""`with unforked:` no other thread forks. Re-entrant, since a signal handler may come back to the same thread."""

os.register_at_fork(before=unforked.acquire, after_in_parent=unforked.release, after_in_child=unforked.release)

__all__ = ["unforked"]
