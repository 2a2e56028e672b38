"""The events of a flood, as Asterisk writes them: many attackers in no order, each in a network of its own.

In one network, the rule for crowded networks would ban them all together with one element.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime

SECONDS_MARK = b"2000-01-01T00:00:00.000+0000"
ROUND_MARK = b"ffffffff"
CHUNK = 1 << 16

EVENT = """Event: ChallengeResponseFailed\r
Privilege: security,all\r
EventTV: {tv}\r
Severity: Error\r
Service: PJSIP\r
EventVersion: 1\r
AccountID: {account}\r
SessionID: {session}\r
LocalAddress: IPV4/TCP/203.0.113.10/5060\r
RemoteAddress: IPV4/TCP/{address}/5060\r
Challenge: 1795354577/ddc01744d5c6ba97ce924b484f8e6687\r
Response: a13697eb64d549a3367c5c300021bccb\r
ExpectedResponse: \r
\r
"""


def address(number):
    """Give the address of an attacker: from 0 to 65,535."""
    return f"10.{number >> 8}.{number & 255}.7"


def now():
    """Write this instant as EventTV has it."""
    at = datetime.now(UTC)
    return f"{at:%Y-%m-%dT%H:%M:%S}.{at.microsecond // 1000:03}+0000"


def event(number, session, tv=None):
    """Write one wrong answer of an attacker, who guesses at an account of his own."""
    return EVENT.format(tv=tv or now(), account=10_000 + number, session=session, address=address(number)).encode()


class Flood:
    """Wrong answers of all attackers in no order, `each` of every one, in pieces; `each` pass is new to the daemon."""

    def __init__(self, attackers, each):
        dice = random.Random(1)
        order = [number for number in range(attackers) for _ in range(each)]
        dice.shuffle(order)
        mark, tv = ROUND_MARK.decode(), SECONDS_MARK.decode()
        events = [event(number, f"{mark}{dice.getrandbits(32):08x}", tv) for number in order]
        self.count = len(events)
        step = max(CHUNK // len(events[0]), 1)
        self._pieces = [b"".join(events[at : at + step]) for at in range(0, len(events), step)]
        self._passes = 0

    def pieces(self):
        """Give one pass: dated now, and with sessions that were not there before."""
        self._passes += 1
        session = f"{self._passes:08x}".encode()
        for piece in self._pieces:
            yield piece.replace(SECONDS_MARK, now().encode()).replace(ROUND_MARK, session)
