"""A story as it is played: a PBX like a small company's, everybody else around it, the time, the recording, the truth.

with scene("198.51.100.", seconds=60, folder=folder) as stage: see tests/asterisk/people.py for who can be on it.
"""

from __future__ import annotations

import contextlib
import json
import lzma
import random
import threading
import time
from typing import TYPE_CHECKING

from tests.asterisk.company import AMI_SECRET, BY_LOGIN, EXTENSIONS, ISO_TIMES, MODULES, SPECIAL, TRANSPORTS, accounts
from tests.asterisk.image import asterisk_root
from tests.asterisk.network import crowded
from tests.asterisk.pbx import CONFIGURATION, Asterisk
from tests.asterisk.sip import Caller

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.asterisk.network import Host
    from tests.asterisk.sip import Wire

PHONES = ("192.0.2.0/24", "2001:db8:c::/64")
ATTACKERS = ("198.51.100.0/24", "2001:db8:b0::/44")


class Over(Exception):
    """The time of the story is up; whoever waits for something stops where he is."""


class Recorder:
    """A user with `read = security` that keeps every byte."""

    def __init__(self, pbx: Host) -> None:
        self.data = b""
        self._socket = _connect(pbx)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._socket.recv(1 << 18):
                self.data += piece

    def close(self, quiet: float = 1.0) -> None:
        """Stop when nothing has come for a while."""
        length = -1
        while length != len(self.data) and self._thread.is_alive():
            length = len(self.data)
            time.sleep(quiet)
        with contextlib.suppress(OSError):
            self._socket.shutdown(2)
        self._thread.join(5)
        self._socket.close()


class Scene:
    """What is the same for all stories."""

    def __init__(self, seconds: float, pbx: Host, phones: Host, attackers: Host, asterisk: Asterisk, folder: Path):
        self.seconds, self.folder, self.asterisk, self.dice = seconds, folder, asterisk, random.Random(int(seconds))
        self._pbx, self._phones, self._attackers = pbx, phones, attackers
        self.truth: dict[str, object] = {"attackers": {}, "legit": {}, "allow": [], "expect": {}, "limits": {}}
        self._threads: list[threading.Thread] = []
        self._faults: list[BaseException] = []
        self._recorders = [Recorder(pbx)]
        self._end = time.monotonic() + seconds
        self._restart_at: float | None = None

    def restart(self, after: float) -> None:
        """Restart Asterisk, as for an upgrade; what it says then is a recording of its own."""
        self._restart_at = time.monotonic() + after

    def host(self, address: str) -> Host:
        """Find who has an address."""
        ours = address.startswith(("192.0.2.", "2001:db8:c:"))
        return (self._phones if ours else self._attackers).at(address)

    def line(self, address: str, transport: str = "udp", port: int = 0, wire: Wire | None = None) -> Caller:
        """Open a line from an address to the PBX, over the same version of IP."""
        pbx = self._pbx.at("2001:db8:a::10") if ":" in address else self._pbx
        return Caller(self.host(address), pbx, transport, port, wire)

    def is_legit(self, address: str, what: str, *expect: str) -> None:
        """Note an honest address, and what has to happen to it."""
        self._note("legit", address, what, expect)

    def attacks(self, address: str, what: str, *expect: str, **limits: int) -> None:
        """Note an attacker, what has to happen to it, and how much it may do before."""
        self._note("attackers", address, what, expect)
        if limits:
            self.truth["limits"][address] = limits

    def expect(self, address: str, *expect: str) -> None:
        """Note what has to happen; `*` stands for all of the story."""
        noted = self.truth["expect"].setdefault(address, [])
        noted.extend(word for word in expect if word not in noted)

    def _note(self, side: str, address: str, what: str, expect: tuple[str, ...]) -> None:
        said = self.truth[side].setdefault(address, [])
        if what not in said:
            said.append(what)
        self.expect(address, *expect)

    def start(self, play: Callable[..., object], *given: object, **named: object) -> None:
        """Let somebody play his part beside the others."""

        def run() -> None:
            try:
                play(*given, **named)
            except Over:
                pass
            except BaseException as fault:  # noqa: BLE001 (told when the story ends)
                self._faults.append(fault)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        until = min(time.monotonic() + seconds, self._end)
        time.sleep(max(0.0, until - time.monotonic()))
        if until == self._end:
            raise Over

    def every(self, seconds: float, times: int | None = None, after: float = 0.0, jitter: float = 0.1) -> Iterator[int]:
        """Take turns, until the story ends or so many times, not quite evenly."""
        self.wait(after)
        number = 0
        due = time.monotonic()
        while times is None or number < times:
            yield number
            number += 1
            due += seconds * self.dice.uniform(1 - jitter, 1 + jitter)
            self.wait(max(0.0, due - time.monotonic()))

    def finish(self, into: Path) -> int:
        """Wait for the end, write what was recorded and what is true, and give the number of bytes."""
        if self._restart_at is not None:  # here, because Asterisk ends with the thread that has started it
            time.sleep(max(0.0, self._restart_at - time.monotonic()))
            self._recorders[-1].close(0.1)
            self.asterisk.stop()
            self.asterisk.start()
            self._recorders.append(Recorder(self._pbx))
        for thread in self._threads:
            thread.join(max(0.0, self._end - time.monotonic()) + 25)
        assert not self._faults, self._faults
        self._recorders[-1].close()
        into.mkdir(parents=True, exist_ok=True)
        for old in into.iterdir():
            old.unlink()
        for number, recorder in enumerate(self._recorders, 1):
            name = "capture.ami.xz" if number == 1 else f"capture_{number}.ami.xz"
            (into / name).write_bytes(_packed(recorder.data))
        (into / "messages.xz").write_bytes(_packed(self._messages()))
        truth = {
            key: value for key, value in self.truth.items() if value or key in {"attackers", "legit", "allow", "expect"}
        }
        (into / "truth.json").write_text(json.dumps(truth, indent=1, ensure_ascii=False) + "\n")
        return sum(file.stat().st_size for file in into.iterdir())

    def _messages(self) -> bytes:
        path = self.folder / "log/messages"
        return path.read_bytes() if path.exists() else b""


@contextlib.contextmanager
def scene(kind: type[Scene], seconds: float, folder: Path, *, by_login: bool, iso_times: bool) -> Iterator[Scene]:
    """Put everything up, wait until Asterisk answers, and take everything down again."""
    pjsip = (BY_LOGIN if by_login else "") + TRANSPORTS + accounts(SPECIAL)
    changes = {
        "pjsip.conf": pjsip,
        "extensions.conf": EXTENSIONS,
        "logger.conf": (ISO_TIMES if iso_times else "") + CONFIGURATION["logger.conf"],
    }
    with crowded(phones=PHONES, attackers=ATTACKERS) as (pbx, phones, attackers):
        asterisk = Asterisk(asterisk_root(), pbx, phones.at("192.0.2.9"), folder, changes, MODULES)
        try:
            asterisk.start()
            stage = kind(seconds, pbx, phones, attackers, asterisk, folder)
            yield stage
        finally:
            asterisk.stop()


def _packed(data: bytes) -> bytes:
    return lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)


def _connect(pbx: Host) -> socket.socket:
    """Log in to AMI, and read nothing yet: the banner is part of the recording."""
    import socket

    with pbx.entered():
        ami = socket.create_connection(("127.0.0.1", 5038), timeout=10)
    ami.settimeout(None)
    ami.sendall(f"Action: Login\r\nUsername: astguard\r\nSecret: {AMI_SECRET}\r\n\r\n".encode())
    return ami
