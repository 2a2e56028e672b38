"""From the bytes of an AMI socket to blocks, and from blocks to security events.

Blocks end with an empty line, lines with CRLF and with nothing else: a value may hold a bare CR, VT, U+2028 and 65 kB
of text. A block is one of

- an event: exactly one row of the grammar, behind a clean block;
- a reply to an action of ours (`Response:` first);
- foreign: a whole block of another AMI class;
- tampered: everything else. It is counted and kept for display, and its claims are never believed.

The neighbour rule: text that tears a block in two can make its second half a perfect event for any address, and such
a half always follows a torn one. So an event is believed only if the security block before it was clean by itself.
Foreign blocks do not count as clean, and replies are told by their ActionID: neither can stand between. On chan_sip
even the first half can be a whole event; the second then still has chan_sip's SessionID, a pointer, so an event of
PJSIP with a pointer behind one of chan_sip is not believed either.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Service
from guard.wire.grammar import ROWS, Dialect, Grammar

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.core.event import SecurityEvent

BLOCK_LIMIT = 262_144
"""Bytes of one block. Asterisk was seen to send values of 65 kB, and an event has at most three of the sender's."""
EARLY_LIMIT = 1_000
EARLY_SIZE = 4 * BLOCK_LIMIT
"""Blocks, and characters in them, kept until our own login's event has shown which optional headers are written."""
SAMPLES = 20
SAMPLE_LIMIT = 2_048

_END = b"\r\n\r\n"
_TEXT = r"[^\r]*(?:\r(?!\n)[^\r]*)*"
_SYSTEM = r"(?:(?!\r\n).){0,64}"  # Asterisk keeps 19; an expression of 200,000 takes five seconds to compile
_SECURITY = "|".join(sorted({row.kind for row in ROWS}))


class Framing(NamedTuple):
    """The optional headers between Privilege and EventTV: the same in every event of one connection.

    `timestamp` is manager.conf's timestampevents, `debug` its debug (SequenceNumber, File, Line, Func), `system`
    asterisk.conf's systemname.
    """

    timestamp: bool
    debug: bool
    system: str | None

    def pattern(self) -> str:
        """Return the expression for these headers and no others."""
        return (
            (_TIMESTAMP if self.timestamp else "")
            + (_DEBUG if self.debug else "")
            + ("" if self.system is None else r"\r\nSystemName: " + re.escape(self.system))
        )


_TIMESTAMP = r"\r\nTimestamp: \d{1,12}\.\d{6}"
_DEBUG = r"\r\nSequenceNumber: \d{1,12}\r\nFile: [\w.-]+\r\nLine: \d{1,6}\r\nFunc: \w+"
_ANY = re.compile(
    rf"Event: \w+\r\nPrivilege: security,all({_TIMESTAMP})?({_DEBUG})?(?:\r\nSystemName: ({_SYSTEM}))?\r\nEventTV: .*",
    re.ASCII | re.DOTALL,
)
_POINTER = re.compile(r"0x[0-9a-f]{1,16}", re.ASCII)
_LINES = rf"(?:\r\n[\w()-]+:{_TEXT})*"  # no optional space: two ways to match a line are 2**n for n lines
_FOREIGN = re.compile(rf"Event: (?!(?:{_SECURITY})\b)\w+(?!\r\nPrivilege: security)" + _LINES, re.ASCII)
_REPLY = re.compile(r"Response: \w+" + _LINES, re.ASCII)


@lru_cache(maxsize=8)
def grammar(framing: Framing) -> Grammar:
    """Return the AMI dialect of the grammar for one framing."""
    privilege = r"\r\nPrivilege: security,all"
    return Grammar(Dialect("Event: ", "\r\n", privilege + framing.pattern(), r"\r\n{name}: {value}", _TEXT))


class BlockReader:
    """Cuts a byte stream into blocks, in whatever pieces it arrives. Holds at most BLOCK_LIMIT bytes."""

    def __init__(self) -> None:
        self._buffer = bytearray()  # grows in place: a long block in small pieces costs no more than a short one
        self._skipped = b""

    def feed(self, data: bytes) -> list[str]:
        """Return the blocks that are now complete, without their empty line.

        A block that is not UTF-8, or longer than the limit, begins with NUL: no grammar takes it.
        """
        buffer = self._buffer
        unseen = max(len(buffer) - 3, 0)
        buffer += data
        blocks: list[str] = []
        if buffer.find(_END, unseen) >= 0:
            *ended, rest = bytes(buffer).split(_END)
            buffer[:] = rest
            if self._skipped:
                ended[0], self._skipped = b"\0" + self._skipped, b""
            blocks = _decode(ended)
        if len(buffer) > BLOCK_LIMIT + 3:  # three bytes may be the begin of the end
            self._skipped = self._skipped or bytes(buffer[:SAMPLE_LIMIT])
            del buffer[:-3]
        return blocks


def _decode(blocks: list[bytes]) -> list[str]:
    try:
        if len(max(blocks, key=len)) <= BLOCK_LIMIT:
            return _END.join(blocks).decode().split(_END.decode())  # all at once: a third of the time
    except UnicodeDecodeError:
        pass
    return [_decode_one(block) for block in blocks]


def _decode_one(block: bytes) -> str:
    if len(block) > BLOCK_LIMIT:
        block = b"\0" + block[:SAMPLE_LIMIT]
    try:
        return block.decode()
    except UnicodeDecodeError:
        return "\0" + block.decode(errors="backslashreplace")


class EventReader:
    """Sorts blocks and believes the clean ones. `username` is our own AMI user; None for a recording of another's."""

    def __init__(self, username: str | None = None) -> None:
        self.tampered = 0
        self.foreign = 0
        self.replies = 0
        self.samples: deque[str] = deque(maxlen=SAMPLES)
        self.own_login = False
        self._username = username
        self._grammar: Grammar | None = None
        self._early: list[str] = []
        self._early_size = 0
        self._early_torn = False
        self._waiting = True
        self._torn = False  # the last security block was not clean by itself
        self._behind_sip = False  # ... or was an event of chan_sip

    def read(self, blocks: Sequence[str]) -> list[SecurityEvent]:
        """Return the events among these blocks; count the others."""
        if self._grammar is None:
            blocks = self._wait(blocks)
        return self._sort(blocks)

    def stop_waiting(self) -> list[SecurityEvent]:
        """Let any event show the framing, because our own login's event does not come; return what was kept."""
        self._waiting = False
        return self.read(())

    def finish(self) -> list[SecurityEvent]:
        """Judge what still waits for our own login's event, because the recording ended without one."""
        return self.stop_waiting()

    def _wait(self, blocks: Sequence[str]) -> Sequence[str]:
        """Keep blocks until our own login's event has shown the framing; then return all that were kept."""
        self._early += blocks
        self._early_size += sum(map(len, blocks))
        for block in blocks:
            framing, event = _by_itself(block)
            if event is not None and not self._early_torn and self._is_own_login(event):
                return self._settle(framing)
            if event is not None:
                self._early_torn = False
            elif not _is_other(block):
                self._early_torn = True
        if self._waiting and len(self._early) < EARLY_LIMIT and self._early_size < EARLY_SIZE:
            return ()
        # Without it the first event has to do: better a framing that a forger may have chosen than none.
        for block in self._early:
            framing, event = _by_itself(block)
            if event is not None:
                return self._settle(framing)
        self._sort(self._settle(_PLAIN))  # no event among them, whatever the framing; they are counted
        self._grammar = None
        return ()

    def _settle(self, framing: Framing) -> Sequence[str]:
        self._grammar = grammar(framing)
        early, self._early, self._early_size = self._early, [], 0
        return early

    def _is_own_login(self, event: SecurityEvent) -> bool:
        return (
            event.kind is Kind.SUCCESSFUL_AUTH
            and event.service is Service.AMI
            and self._username in {None, event.account}
        )

    def _sort(self, blocks: Sequence[str]) -> list[SecurityEvent]:
        events: list[SecurityEvent] = []
        if not blocks:
            return events
        assert self._grammar is not None
        read = self._grammar.read
        for block in blocks:
            event = read(block)
            if event is not None:
                behind_sip, self._behind_sip = self._behind_sip, event.service is Service.SIP
                if self._torn or (behind_sip and _is_second_half(event)):
                    self._tamper(block)
                    self._torn = self._behind_sip = False
                    continue
                events.append(event)
                if not self.own_login and self._is_own_login(event):
                    self.own_login = True
            elif _REPLY.fullmatch(block):
                self.replies += 1
            elif not self._torn and _FOREIGN.fullmatch(block):
                self.foreign += 1
            else:
                self._tamper(block)
                self._torn = True
        return events

    def _tamper(self, block: str) -> None:
        self.tampered += 1
        # ExpectedResponse of an AMI login is md5(challenge + secret): it may not be shown or logged.
        self.samples.append(re.sub(r"(ExpectedResponse: )[^\r]*", r"\1...", block[:SAMPLE_LIMIT]))


_PLAIN = Framing(timestamp=False, debug=False, system=None)


def _by_itself(block: str) -> tuple[Framing, SecurityEvent | None]:
    """Read a block under the framing that it shows itself."""
    seen = _ANY.fullmatch(block)
    if seen is None:
        return _PLAIN, None
    framing = Framing(timestamp=bool(seen[1]), debug=bool(seen[2]), system=seen[3])
    return framing, grammar(framing).read(block)


def _is_other(block: str) -> bool:
    return bool(_REPLY.fullmatch(block) or _FOREIGN.fullmatch(block))


def _is_second_half(event: SecurityEvent) -> bool:
    """Tell whether an event of PJSIP has the SessionID of another service, as the second half of a torn one has."""
    return event.service is Service.PJSIP and _POINTER.fullmatch(event.session) is not None
