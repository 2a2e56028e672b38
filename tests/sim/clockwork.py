"""Virtual time: two clocks that only the simulation moves, and an event loop that lives by them.

It is asyncio's own loop with all its tasks, futures, timers and timeouts. Where the real one waits for sockets, this
one moves the clocks to the next timer; where that one starts threads, this one calls later, at a drawn instant.
"""

from __future__ import annotations

import asyncio
import time as real
from math import ceil
from typing import NamedTuple

from guard.core.units import SECOND

BOOT = 1_000 * SECOND
EPOCH = 1_795_000_000 * SECOND  # 2026-11-18


class Crash(KeyboardInterrupt):
    """The process is gone at this very place. Of all exceptions asyncio lets only this kind out of a callback."""


class Clock:
    """`mono` stands still while the machine is suspended, `wall` is whatever somebody sets it to; nanoseconds."""

    def __init__(self):
        self.mono = BOOT
        self.wall = EPOCH
        self.jumped = 0  # how far the wall clock was set forward in all

    def go(self, duration):
        """Let time pass."""
        self.mono += duration
        self.wall += duration

    def set(self, by):
        """Set the wall clock."""
        self.wall += by
        self.jumped += max(by, 0)

    def boot(self):
        """Begin anew, as the monotonic clock does at every boot."""
        self.mono = BOOT


class Time:
    """What modules of astguard import as `time`."""

    strftime, gmtime = real.strftime, real.gmtime

    def __init__(self, clock):
        self._clock = clock

    def monotonic(self):
        return self._clock.mono / SECOND

    def monotonic_ns(self):
        return self._clock.mono

    def time_ns(self):
        return self._clock.wall

    def thread_time_ns(self):
        return 0


class Loop(asyncio.BaseEventLoop):
    """One life's event loop. `network` makes connections; `fault` takes what asyncio finds nobody to tell."""

    def __init__(self, clock, chance, network, fault):
        super().__init__()
        self._clock_resolution = 1e-9
        self._selector = self
        self._clock = clock
        self._chance = chance
        self._network = network
        self.readers = {}
        self.signals = {}
        self.turns_left = None  # until the process is killed
        self.set_exception_handler(lambda _loop, context: fault(context))

    def time(self):
        return self._clock.mono / SECOND

    def select(self, timeout):
        """Wait, as a selector does; a timer is never punctual."""
        if self.turns_left is not None:
            self.turns_left -= 1
            if self.turns_left < 0:
                raise Crash
        assert timeout is not None, "nothing will ever happen any more"
        if timeout > 0:
            self._clock.go(ceil(timeout * SECOND) + self._chance.choice((1, 50_000, 900_000)))
        return []

    def run_for(self, duration):
        """Live for so many nanoseconds of the monotonic clock."""
        handle = self.call_later(duration / SECOND, self.stop)
        try:
            self.run_forever()
        finally:
            handle.cancel()

    def _process_events(self, _events):
        pass

    def _write_to_self(self):
        pass

    def add_reader(self, fd, callback, *arguments):
        self.readers[fd] = (callback, arguments)

    def remove_reader(self, fd):
        return self.readers.pop(fd, None) is not None

    def readable(self, fd):
        """Tell whoever reads from it."""
        if fd in self.readers:
            callback, arguments = self.readers[fd]
            self.call_soon(callback, *arguments)

    def add_signal_handler(self, number, callback, *arguments):
        self.signals[number] = (callback, arguments)

    def kill(self, number):
        """Send a signal to this process; False if it does not listen yet."""
        if number not in self.signals:
            return False
        callback, arguments = self.signals[number]
        self.call_soon(callback, *arguments)
        return True

    def run_in_executor(self, _executor, work, *arguments):
        """Do at a drawn instant what a thread would do."""
        done = self.create_future()

        def act():
            if done.cancelled():
                return
            try:
                done.set_result(work(*arguments))
            except Crash:
                raise
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                done.set_exception(error)

        self.call_later(self._chance.choice((0, 0.001, 0.02, 0.3)), act)
        return done

    async def create_connection(self, factory, host, port, **_tls):
        return await self._network.connect(self, factory)


class Thread:
    """What sensors/names.py makes of `threading`: a look-up that takes a drawn time."""

    def __init__(self, loop, chance):
        self._loop, self._chance = loop, chance

    def __call__(self, *, target, **_):
        return _Job(lambda: self._loop().call_later(self._chance.choice((0, 0.03, 2)), target))


class _Job(NamedTuple):
    start: object
