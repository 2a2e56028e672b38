"""A PBX, phones, an office, trunks and attackers, each on a host of its own, and astguard on the PBX.

with laboratory(folder) as lab:
    with lab.astguard() as guard:
        lab.attacker.guess("101", 500)
        assert_banned(guard, lab.attacker)
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.asterisk.company import TRUNK, company, modules
from tests.asterisk.guard import Guard, eventually
from tests.asterisk.image import asterisk_root
from tests.asterisk.network import crowded_by_office
from tests.asterisk.pbx import Ami, Asterisk
from tests.asterisk.person import Person

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.asterisk.network import Host

PHONES = ("192.0.2.0/24", "2001:db8:c::/64")
ATTACKERS = ("198.51.100.0/24", "2001:db8:b0::/44")
OFFICE = "192.0.2.50"
CUT = "add table inet lab; add chain inet lab in { type filter hook input priority 0; }; add rule inet lab in "


@dataclass(frozen=True)
class Lab:
    """The hosts and who sits there."""

    version: str
    pbx: Host
    phones: Host
    attackers: Host
    office: Host
    folder: Path
    asterisk: Asterisk

    @property
    def phone(self) -> Person:
        """Give an honest phone."""
        return self.honest(21)

    @property
    def attacker(self) -> Person:
        """Give an attacker."""
        return self.stranger(11)

    @property
    def trunk(self) -> Person:
        """Give the trunk that the PBX knows by its address."""
        return Person(self.phones.at(TRUNK), self.pbx)

    def honest(self, number: int) -> Person:
        """Give a phone at 192.0.2.NUMBER."""
        return Person(self.phones.at(f"192.0.2.{number}"), self.pbx, f"2001:db8:c::{number}")

    def stranger(self, number: int) -> Person:
        """Give an attacker at 198.51.100.NUMBER, with an IPv6 network of his own."""
        return Person(self.attackers.at(f"198.51.100.{number}"), self.pbx, f"2001:db8:b0:{number}::66")

    def colleague(self, number: int) -> Person:
        """Give one of the twenty people in the office; the PBX sees one address for them all."""
        return Person(self.office.at(f"10.77.0.{11 + number}"), self.pbx, seen_as=OFFICE)

    def restart_asterisk(self) -> None:
        """Stop Asterisk and start it again, as after an upgrade."""
        self.asterisk.stop()
        self.asterisk.start()

    def log(self, name: str) -> Path:
        """Give the file of a log, `messages` or `security`."""
        return self.folder / "log" / (name if self.version == "16" else f"{name}.log")

    @contextlib.contextmanager
    def ami(self) -> Iterator[Ami]:
        """Listen to Asterisk without any of astguard's code."""
        with contextlib.closing(Ami(self.pbx)) as ami:
            ami.wait_for(Message="Authentication accepted")
            yield ami

    @contextlib.contextmanager
    def ami_unreachable(self) -> Iterator[None]:
        """Drop what goes to AMI, as a wrong rule of somebody's firewall does."""
        self.pbx.run("nft", f"{CUT} tcp dport {{ 5038, 5039 }} drop", check=True)
        try:
            yield
        finally:
            self.pbx.run("nft", "delete", "table", "inet", "lab", check=False)

    @contextlib.contextmanager
    def astguard(
        self,
        *allow: str,
        wait: bool = True,
        environment: dict[str, str] | None = None,
        on: Host | None = None,
        **settings: object,
    ) -> Iterator[Guard]:
        """Run astguard with a state of its own, with these settings over the usual ones; `on` another host than the PBX.

        Bans stay in the kernel when it stops, so all there is goes at the end.
        """
        folder = self.folder / f"astguard-{time.monotonic_ns()}"
        host = on or self.pbx
        guard = Guard(host, folder, self.folder, {"allow": list(allow), **settings}, environment or {})
        try:
            guard.start(wait=wait)
            yield guard
        finally:
            guard.stop()
            host.run("nft", "flush", "ruleset", check=True)  # of the namespace, which is the lab's alone


@contextlib.contextmanager
def laboratory(folder: Path, version: str = "22") -> Iterator[Lab]:
    """Put everything up, wait until Asterisk answers, and take everything down again."""
    root = asterisk_root(version)
    with crowded_by_office(OFFICE, "10.77.0.", phones=PHONES, attackers=ATTACKERS) as (pbx, phones, attackers, office):
        asterisk = Asterisk(root, pbx, phones.at("192.0.2.9"), folder, company(version), modules(version))
        try:
            asterisk.start()
            yield Lab(version, pbx, phones, attackers, office, folder, asterisk)
        finally:
            asterisk.stop()


def assert_banned(
    guard: Guard, person: Person, transport: str = "udp", by: str = "", service: int | None = None
) -> dict:
    """The person is on the list and in the kernel, and nothing comes through any more; give the ban."""
    source = person.source(transport)
    bans: dict[str, dict] = {}
    eventually(lambda: bans.update(guard.bans()) or source in bans, 5, about=guard.log)
    ban = bans[source]
    assert by in ban["rule"], f"banned by {ban['rule']}, not by {by}"
    assert source.partition("/")[0] in guard.kernel()
    assert not person.gets_through(transport, service), f"{source} still gets through {transport}:\n{guard.log()}"
    return ban


def assert_free(guard: Guard, *people: Person, transport: str = "udp") -> None:
    """Nobody of them is banned, or slowed, and all get through."""
    bans = guard.bans()
    for person in people:
        assert person.source(transport) not in bans, f"{bans[person.source(transport)]}\n{guard.log()}"
        eventually(lambda person=person: person.gets_through(transport), 5, about=guard.log)


def assert_fair(ban: dict, transport: str) -> None:
    """Over UDP anybody can write anybody's address: that closes the SIP ports. Who shook hands has shown that it is his.

    On a busy machine, now and then the line of `messages`, which names no transport, is read before the event of AMI; then the
    ban is an unproven one over TCP, too.
    """
    assert ban["scope"] == ("all" if ban["evidence"] == "proven" else "sip")
    assert not (transport.startswith("udp") and ban["evidence"] == "proven")
