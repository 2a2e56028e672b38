"""Somebody who does his part beside the test, in a thread of his own, until the block ends."""

from __future__ import annotations

import threading
from typing import Self

PATIENCE = 5.0
"""Seconds that nobody needs to notice that it is over."""


class Worker:
    """What `work` does until `over` is set; it looks there at least a few times a second, and waits by it."""

    def __init__(self) -> None:
        """Begin; so this is the last thing a subclass's own __init__ does."""
        self.over = threading.Event()
        self._thread = threading.Thread(target=self.work, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join(PATIENCE)
        self.leave()

    def work(self) -> None:
        """Do the part."""
        raise NotImplementedError

    def leave(self) -> None:
        """Tidy up, once the thread has ended."""
