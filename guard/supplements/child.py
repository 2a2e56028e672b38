"""The child that runs the supplements: `python -m guard.supplements.child`, started by the guard and by nobody else.

stdin brings, once, who is wanted; a pipe that it names brings the frames, and its end is the end. On stdout the child
says what it has done, a JSON object a line; whatever supplements print goes to stderr.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from contextlib import suppress
from typing import Any

from guard.supplements import confine
from guard.supplements.catalogue import SHIPPED, Order, make, open_site, why
from guard.supplements.contract import CALLBACKS
from guard.supplements.frames import decode

READ = 16 * 1024
CLOSE_SECONDS = 2.0
"""How long all of them together may take to end."""


class Child:
    """Calls supplements; says to the guard what it has handled, and what has failed."""

    def __init__(self, say: int) -> None:
        self._say = say
        self._supplements: list[tuple[str, object]] = []
        self._handled = self._failed = 0

    def load(self, orders: list[Order], missing: list[str]) -> None:
        """Make the supplements, by priority; one that cannot be made is left out."""
        failed = []
        for order in orders:
            if missing and order.target not in SHIPPED.values():
                failed.append((order.name, f"this kernel cannot keep it from {' and '.join(missing)}"))
                continue
            try:
                self._supplements.append((order.name, make(order)))
            except BaseException as error:  # noqa: BLE001 - whatever somebody else's code raises
                failed.append((order.name, f"cannot be made: {why(error)}"))
        wanted = [callback for callback in CALLBACKS if any(self._of(callback))]
        deciding = [name for name, one in self._supplements if callable(getattr(one, "before_ban", None))]
        self.say(ready=wanted, failed=failed, deciding=deciding, missing=missing)

    def run(self, pipe: int) -> None:
        """Handle frames until there are no more."""
        rest = b""
        while chunk := os.read(pipe, READ):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._handle(line)
            self.say(handled=self._handled, failures=self._failed)
        closing = threading.Thread(target=self._close, daemon=True)
        closing.start()
        closing.join(CLOSE_SECONDS)
        self.say(handled=self._handled, failures=self._failed)

    def say(self, **what: object) -> None:
        """Say something to the guard."""
        with suppress(BrokenPipeError):
            os.write(self._say, json.dumps(what).encode() + b"\n")

    def _handle(self, line: bytes) -> None:
        callback, value, lost = decode(line)
        for name, call in self._of(callback):
            try:
                call(value)
            except BaseException as error:  # noqa: BLE001
                self._failed += 1
                self.say(log=f"{name}: {callback} raised {why(error)}")
        if lost:
            for _, supplement in self._supplements:
                with suppress(Exception):
                    getattr(supplement, "lost", _nothing)(lost)
        self._handled += 1

    def _of(self, callback: str) -> list[tuple[str, Any]]:
        found = ((name, getattr(supplement, callback, None)) for name, supplement in self._supplements)
        return [(name, call) for name, call in found if callable(call)]

    def _close(self) -> None:
        for name, call in self._of("close"):
            try:
                call()
            except BaseException as error:  # noqa: BLE001
                self._failed += 1
                self.say(log=f"{name}: close raised {why(error)}")


def main() -> None:
    """Shut this process in, then run what is wanted."""
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
        signal.SIGHUP,
    ):  # they go to the whole group, or unit; the pipe's end ends us
        signal.signal(number, signal.SIG_IGN)
    wanted = json.loads(sys.stdin.buffer.read())
    said = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr  # which is not held back until its buffer is full
    child = Child(said)
    orders = [Order(*order) for order in wanted["orders"]]
    open_site()
    for order in orders:
        if order.target in SHIPPED.values():  # ours, and perhaps in a folder that nobody may read
            __import__(order.target.partition(":")[0])
    is_root = os.geteuid() == 0
    confine.become_nobody()
    confine.die_with(wanted["parent"])
    confine.be_small()
    if confine.capabilities():
        sys.exit("the process still has capabilities")
    missing = confine.shut_in()
    if is_root:
        missing = []  # nobody may not read or write them anyway
    child.load(orders, missing)
    child.run(wanted["pipe"])


def _nothing(_: int) -> None:
    """Take no note of what was lost."""


if __name__ == "__main__":
    main()
