"""Who calls on the Asterisk of the simulation: guessers, scanners, phones, offices, forgers, and noise.

Each source has its part, so that the laws know who may be banned and who may not.
"""

from __future__ import annotations

from guard.core.address import parse_host, parse_source
from tests import blocks
from tests.sim.asterisk import stamp

HOUSE = parse_source("192.0.2.0/28")  # allowed by the configuration
ATTACKERS = [f"198.51.100.{n}" for n in range(1, 9)] + ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:2::1"]
ALLOWED = ["192.0.2.1", "192.0.2.5"]
PHONES = [f"203.0.113.{n}" for n in range(1, 4)]  # they err once in a while, and authenticate
INNOCENT = [f"192.0.2.{n}" for n in range(200, 204)]  # they never call: only forgers name them
INNOCENT_SOURCES = frozenset(map(parse_host, INNOCENT))
SPECIAL = ["127.0.0.1", "0.0.0.0", "224.0.0.1", "::1"]
FRESH_GUESSES = 6


class Traffic:
    """Writes blocks and lines; every session is a new one unless it is meant to be the same."""

    def __init__(self, world):
        self.world = world
        self.chance = world.chance
        self._number = 0

    def unique(self):
        self._number += 1
        return f"call-{self._number}"

    def fresh(self):
        """Return an address that has never called before."""
        self._number += 1
        number = self._number
        if self.chance.random() < 0.3:
            return f"2001:db8:f:{number:x}::1"
        return f"198.18.{number >> 8 & 255}.{number & 255}"

    def block(self, kind, source, service="PJSIP", transport="UDP", **other):
        """Write one event."""
        row = blocks.row_of(kind, service)
        family = 6 if ":" in source else 4
        port = 5038 if service == "AMI" else 5060
        transport = "TCP" if service == "AMI" else transport
        local = "2001:db8:a::10" if family == 6 else "203.0.113.10"
        given = {
            "EventTV": stamp(self.world.clock.wall - self.chance.choice((0, 0, 3, 40)) * 1_000_000),
            "RemoteAddress": f"IPV{family}/{transport}/{source}/{self.chance.choice((5060, 51780))}",
            "LocalAddress": f"IPV{family}/{transport}/{local}/{port}",
            "SessionID": self.unique() if service == "PJSIP" else f"0x7f4088{self.chance.randrange(1 << 24):06x}",
        }
        if service == "AMI":
            given["SessionTV"] = "1970-01-01T00:00:00.000+0000"
        if kind == "ChallengeResponseFailed":
            given["Response"] = f"{self.chance.getrandbits(64):016x}"
        return blocks.ami(row, blocks.headers(row, **(given | other)))

    def guesses(self, source, count, transport="TCP", account="101"):
        return [
            self.block("ChallengeResponseFailed", source, transport=transport, AccountID=account) for _ in range(count)
        ]

    def scan(self, source, count, transport):
        return [
            self.block("InvalidAccountID", source, transport=transport, AccountID=str(200 + n)) for n in range(count)
        ]

    def phone(self, source, wrong):
        """A phone that errs a few times and then is right, all in one session."""
        session, account = self.unique(), self.chance.choice(("101", "102"))
        said = {"AccountID": account, "SessionID": session}
        return [
            self.block("ChallengeSent", source, transport="TCP", **said),
            *(self.block("ChallengeResponseFailed", source, transport="TCP", **said) for _ in range(wrong)),
            self.block("SuccessfulAuth", source, transport="TCP", **said),
        ]

    def other(self, source):
        """One event of another kind."""
        return self.chance.choice((
            lambda: self.block("FailedACL", source),
            lambda: self.block("InvalidPassword", source, "AMI"),
            lambda: self.block("InvalidAccountID", source, "AMI"),
            lambda: self.block("InvalidPassword", source, "SIP"),
            lambda: self.block("ChallengeSent", source),
        ))()  # fmt: skip

    def torn(self):
        """Blocks of which one is broken by its own text, with a perfect tail that names somebody innocent."""
        victim, source = self.chance.choice(INNOCENT), self.chance.choice(ATTACKERS[:8])
        tail = self.block("ChallengeResponseFailed", victim, transport="TCP")
        return self.chance.choice((
            lambda: [self.block("ChallengeResponseFailed", source, AccountID=f"x\r\n\r\n{tail}")],
            lambda: [self.block("InvalidPassword", source, "SIP", AccountID=f"x\r\n\r\n{tail}")],
            lambda: [self.block("ChallengeResponseFailed", source, AccountID=f"x\r\nRemoteAddress: IPV4/TCP/{victim}/5060")],
            lambda: [self.block("ChallengeResponseFailed", source)[:-20]],
        ))()  # fmt: skip

    def garbage(self):
        return self.chance.choice((
            "\x1b[2J\x00\udcff", "Event: Foo\r\nA: b", "Response: Success\r\nActionID: nobody's-1", "x" * 200_000,
            "Event: ChallengeResponseFailed\r\nPrivilege: security,all", "Event: " + "\r" * 500, "",
        ))  # fmt: skip

    def notice(self, source, account="101"):
        """A line of `messages` about a wrong password for chan_sip, whose events over AMI count nothing."""
        return (
            f"NOTICE[25051] chan_sip.c: Registration from '<sip:{account}@203.0.113.10>' failed for "
            f"'{source}:{self.chance.randrange(1024, 60000)}' - Wrong password"
        )

    def pjsip_notice(self, source, session):
        return (
            f"NOTICE[23317] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from '\"101\" <sip:101@203.0.113.10>' "
            f"failed for '{source}:5060' (callid: {session}) - Failed to authenticate"
        )

    def torn_notice(self):
        victim = self.chance.choice(INNOCENT)
        head = self.notice(self.chance.choice(ATTACKERS[:8])).split(" - ")[0]
        return f"{head}\n[{'2026-11-18 00:00:00'}] {self.notice(victim)}"
