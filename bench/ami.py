"""Asterisk's end of the AMI link for a bench: it logs the daemon in, and then the bench writes as fast as it can.

The scripted Asterisk answers logins in a thread, which sleeps between them; what a bench sends goes past it, straight
into the socket. So do the answers to pings, between two writes of the bench: one inside an event would tear it.
"""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections import deque
from contextlib import contextmanager

from tests.scripted_asterisk import ScriptedAsterisk

PATIENCE = 30


class Pinged(ScriptedAsterisk):
    """Hands the answers to pings to somebody else."""

    def __init__(self, answer):
        super().__init__()
        self._pong = answer

    def _reply(self, session, asked, response, rest, before=b"", after=b""):
        if not rest.startswith("Ping: "):
            super()._reply(session, asked, response, rest, before, after)
            return
        action_id = f"ActionID: {asked['actionid']}\r\n" if "actionid" in asked else ""
        self._pong(f"Response: {response}\r\n{action_id}{rest}\r\n\r\n".encode())


class Wire:
    """The server, and its end of the connection once the daemon is logged in."""

    def __init__(self):
        self.asterisk = Pinged(self._answer)
        self.secret = self.asterisk.secret
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._socket = None
        self._writing = threading.Lock()
        self._pongs = deque()

    def _serve(self):
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self.asterisk.start())
        self._up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self.asterisk.stop())

    def start(self):
        self._thread.start()
        assert self._up.wait(PATIENCE)

    @property
    def port(self):
        return self.asterisk.port

    def logged_in(self):
        """Wait for the daemon; from then on send() reaches it."""
        done = asyncio.run_coroutine_threadsafe(self.asterisk.logged_in(), self._loop)
        done.result(PATIENCE)
        (session,) = self.asterisk.sessions
        if self._socket is not None:
            self._socket.close()
        self._socket = socket.socket(fileno=os.dup(session.writer.get_extra_info("socket").fileno()))

    def fileno(self):
        return self._socket.fileno()

    def send(self, data):
        """Write all of it, as fast as the daemon reads; it has to be whole events."""
        with self._writing:
            self._write(data)
        self._flush()

    def _answer(self, pong):
        self._pongs.append(pong)
        self._flush()

    def _flush(self):
        """Write the answers that wait, unless somebody writes just now: he does it then."""
        while self._pongs and self._writing.acquire(blocking=False):
            try:
                while self._pongs:
                    self._write(self._pongs.popleft())
            finally:
                self._writing.release()

    def _write(self, data):
        left = memoryview(data)
        while left:
            try:
                left = left[self._socket.send(left) :]
            except BlockingIOError:
                select.select((), (self._socket,), ())

    def stop(self):
        if self._socket is not None:
            self._socket.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)


@contextmanager
def wire():
    """Serve on loopback, in the network namespace of the calling thread."""
    made = Wire()
    made.start()
    try:
        yield made
    finally:
        made.stop()
