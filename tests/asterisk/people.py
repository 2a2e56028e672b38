"""Who can be on the stage: phones, an office, a trunk, guessers, scanners and forgers of addresses.

Each method starts somebody who acts until the story ends, and notes in the truth who that was:

    stage.office("192.0.2.50", range(100, 110), expect="nothing")
    stage.guesser("198.51.100.7", "101", every=0.5, expect="ban", guesses=8)
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.asterisk.company import TRUNK
from tests.asterisk.scene import Scene
from tests.asterisk.sip import Session, Spelling, Wire, digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

BARESIP_ACCOUNT = '<sip:{account}@{pbx}>;auth_user={account};auth_pass="{password}";regint=60\n'
BARESIP_CONFIG = """\
poll_method epoll
sip_listen {address}:{port}
net_interface {address}
module_path {modules}
module_app account.so
module_app menu.so
module g711.so
"""


class People(Scene):
    """A scene with people."""

    def phone(
        self, address: str, account: str, *, every: float = 8.0, after: float = 0.0, calls: int = 3, expect: str = "nothing",
        transport: str = "udp", port: int = 0, wire: Wire | None = None, name: str = "", typos: int = 0,
        moves: int = 0, keepalives: bool = False, misdials: bool = False, first: Callable[[], object] | None = None,
    ) -> None:  # fmt: skip
        """A phone that registers again and again, and calls now and then; `name` is its From where it is no login."""
        what = f"phone {account}" + (f" over {transport}" if transport != "udp" else "")
        what += f", From {name}" if name else ""
        what += f", {typos} wrong answers in one burst, then the right one" if typos else ""
        self.is_legit(address, what, expect)
        login, password = account if name else "", f"right-{account}"

        def live() -> None:
            line = self.line(address, transport, port, wire)
            try:
                self.wait(after)
                if first:
                    first()
                if typos:
                    line.burst(name or account, "mistyped", typos)
                    self.wait(3)
                for turn in self.every(every, jitter=0.25):
                    if moves and turn and turn % moves == 0:  # its router has forgotten it: a new port
                        line.__exit__()
                        line = self.line(address, transport, 0, wire)
                    line.register(name or account, password, login=login)
                    if calls and turn % calls == calls - 1:
                        line.call(name or account, password, "999" if misdials and turn % 2 else "601", login=login)
                    if keepalives:
                        line.ask("OPTIONS", name or account, to="601")
            finally:
                line.__exit__()

        self.start(live)

    def office(
        self, address: str, accounts: Iterable[object], *, spread: float = 3.0, after: float = 0.0, **more
    ) -> None:
        """Phones behind one address, each with a port of its own."""
        for number, account in enumerate(accounts):
            own = {"wire": more["wire"](number)} if callable(more.get("wire")) else {}
            self.phone(address, str(account), after=after + self.dice.uniform(0, spread), **{**more, **own})

    def trunk(self, every: float = 4.0) -> None:
        """The provider, known by address: it calls and never authenticates; it has to be on the allow list."""
        self.is_legit(TRUNK, "trunk, known by its address", "nothing")
        self.truth["allow"] = [TRUNK]

        def call() -> None:
            with self.line(TRUNK) as line:
                for _ in self.every(every):
                    line.call("provider", "", "700")

        self.start(call)

    def old_password(
        self, address: str, account: str, *, every: float, answers: int = 1, growth: float = 1.0, longest: float = 60.0,
        one_call: bool = False, after: float = 0.0,
        transport: str = "udp",
    ) -> None:  # fmt: skip
        """A phone whose password was changed on the PBX alone; it tries the old one for ever."""
        self.is_legit(
            address, f"phone {account} with an old password: {answers} answers, again after {every:g} s", "nothing"
        )
        self.expect(address, f"alarm:{account}")

        def retry() -> None:
            session, pause = Session(), every
            with self.line(address, transport) as line:
                self.wait(after)
                while True:
                    line.burst(account, f"old-{account}", answers, session if one_call else None)
                    self.wait(pause)
                    pause = min(pause * growth, longest)

        self.start(retry)

    def baresip(self, address: str, account: str, password: str, port: int = 5077) -> None:
        """Real baresip; it stands where ASTGUARD_BARESIP says (a tree of its packages), or in the system."""
        tree = os.environ.get("ASTGUARD_BARESIP", "/")
        program = shutil.which("baresip", path=f"{tree}/usr/bin")
        assert program, "no baresip; apt-get install baresip-core, or ASTGUARD_BARESIP=folder"
        host, folder = self.host(address), self.folder / f"baresip-{account}"
        folder.mkdir()
        host.run("ip", "address", "add", f"{address}/32", "dev", "eth0", check=False)
        host.run("ip", "route", "change", "default", "via", "10.9.1.1", "src", address, check=True)
        modules = next(Path(tree).glob("usr/lib/**/baresip/modules"))
        (folder / "config").write_text(BARESIP_CONFIG.format(address=address, port=port, modules=modules))
        (folder / "accounts").write_text(BARESIP_ACCOUNT.format(account=account, password=password, pbx="203.0.113.10"))
        (folder / "contacts").touch()
        libraries = ":".join(map(str, Path(tree).glob("usr/lib/*-linux-gnu")))

        def live() -> None:
            with (folder / "said").open("w") as said:
                process = subprocess.Popen(
                    host.command(program, "-f", folder, "-v"),
                    env={**os.environ, "LD_LIBRARY_PATH": libraries}, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
                )  # fmt: skip
                try:
                    for _ in self.every(1):
                        assert process.poll() is None, (folder / "said").read_text()[-500:]
                finally:
                    process.terminate()
                    process.wait(10)

        self.start(live)

    def guesser(
        self, address: str, *accounts: str, every: float, times: int | None = None, answers: int = 1, one_call: bool = False,
        ask_again: bool = True, expect: str = "ban", transport: str = "udp", after: float = 0.0, jitter: float = 0.1,
        wire: Wire | None = None, legit: bool = False, **limits: int,
    ) -> None:  # fmt: skip
        """Guess passwords of these accounts in turn.

        `answers` per Call-ID, or all in one Call-ID; without `ask_again` it goes on with the last challenge.
        """
        what = f"guesses {', '.join(accounts)}: one per {every:g} s, {transport}"
        what += ", one Call-ID for all" if one_call else f", {answers} answers per Call-ID" if answers > 1 else ""
        (self.is_legit if legit else self.attacks)(address, what, *([expect] if expect else []), **limits)

        def guess() -> None:
            whole, challenged = Session(), False
            self.wait(after)
            with self.line(address, transport, 0, wire) as line:
                for turn in self.every(every, times, jitter=jitter):
                    account = accounts[turn % len(accounts)]
                    session = whole if one_call else Session()
                    if ask_again or not challenged:
                        challenged = line.ask("REGISTER", account, session) == 401
                    for _ in range(answers):
                        if session.challenge:
                            line.answer(session, account, secrets.token_hex(4))

        self.start(guess)

    def scanner(
        self, address: str, names: Iterable[str], *, every: float, method: str = "REGISTER", to: str = "", expect: str = "ban",
        transport: str = "udp", one_call: bool = False, answered: bool = False, after: float = 0.0, wait: bool = True,
        what: str = "", legit: bool = False, **limits: int,
    ) -> None:  # fmt: skip
        """Ask for account after account; existing or not, and with or without an answer to the challenge."""
        what = what or f"{method} for account after account, one per {every:g} s" + (
            ", one Call-ID" if one_call else ""
        )
        (self.is_legit if legit else self.attacks)(address, what, expect, **limits)

        def scan() -> None:
            session, left = Session(), iter(names)
            self.wait(after)
            with self.line(address, transport) as line:
                for turn in self.every(every):
                    name = next(left, None)
                    if name is None:
                        return
                    own = session if one_call else Session(secrets.token_hex(4))
                    more = {} if method == "REGISTER" else {"to": to or f"00442079460{turn:03}"}
                    if not wait:
                        line.shout(method, name, own, **more)
                    elif line.ask(method, name, own, **more) == 401 and answered:
                        line.answer(own, name, "1234", method, **more)

        self.start(scan)

    def forger(self, victims: Iterable[str], *, every: float, times: int | None = None, after: float = 0.0,
               kinds: str = "guess unknown unanswered", account: str = "100", port: int = 5060) -> None:  # fmt: skip
        """A blind sender of UDP with the victims' addresses: it sees no answer, and makes up its nonces."""
        dice, kinds, victims = random.Random(7), kinds.split(), list(victims)
        with self.host("198.51.100.66").entered():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        self.truth["notes"] = "the forger is at 198.51.100.66, which no event can tell"

        def forge() -> None:
            for turn in self.every(every, times, after):
                victim, kind = victims[turn % len(victims)], kinds[turn // len(victims) % len(kinds)]
                session = Session(f"{turn:x}@{dice.randrange(16)}", "1")
                proof, name = "", account
                if kind == "guess":
                    nonce = f"{int(time.time())}/{dice.randrange(4):032x}"
                    session.challenge = {"realm": "asterisk", "nonce": nonce, "opaque": "1", "qop": "auth"}
                    proof = digest(session, "REGISTER", "sip:203.0.113.10", name, str(turn % 50), "1")
                elif kind == "unknown":
                    name = str(1000 + turn % 100)
                spelling = Spelling(f"{victim}:{port}", "203.0.113.10")
                message = spelling.request(session, "REGISTER", name, authorization=proof).replace("{expires}", "60")
                raw.sendto(datagram(victim, port, "203.0.113.10", 5060, message.encode()), ("203.0.113.10", 0))

        self.start(forge)


def datagram(source: str, port: int, target: str, target_port: int, data: bytes) -> bytes:
    """Write an IPv4 packet with whatever sender; the kernel fills in the header's checksum, UDP needs none."""
    udp = struct.pack("!4H", port, target_port, 8 + len(data), 0) + data
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    return struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + ends + udp
