"""Attempts: the several events of one try to get in, folded into one.

Real Asterisk tells of one try more than once: a request for an unknown account is an InvalidAccountID and a
ChallengeSent to `<unknown>`, and both again, with a failed answer, once the challenge is answered; a FailedACL brings
the same `<unknown>` events; UDP repeats it all; and the `messages` log tells it in prose. A phone with a typo answers
15 times in 10 ms, and only its Call-ID holds them together. So events of one site and session (Call-ID) fold:

- an exact repeat (kind, account, session, challenge, response) is a retransmission, for as long and as often as SIP
  sends them;
- the twins of one request are one attempt, and count once under a rule;
- answers that differ are guesses, numbered within their session; what the first of them weigh is the rules' business;
- a line of the log belongs to the attempt with its source, kind and Call-ID: each sensor counts, the larger is weighed.

A weak attempt, a request for an account that is not there, is held for 3 s: where endpoints are identified by
auth_username good phones look unknown first, and a success in the same session then clears it. Opened attempts are
counted, exonerated or open, always.

What a sender gains by choosing a field, everything above being known to him (tests/unit/test_attempt.py, a test each):

- account: nothing; different accounts never fold, and a session that asks for several is held no longer;
- session: a new one each time makes every event an attempt; the same always makes its first answers one burst;
- challenge, response: the same again is no guess eight times, another is one more, and an empty one always is;
- source within a /64: nothing, a site is one sender;
- transport: nothing; proof is passed on to nothing but the log's line of the same session;
- time: 3 s of delay, and not even that with more than a dozen open; nothing at all once successes have shown that this
  Asterisk knows its phones at once;
- an account of his own: one held attempt cleared for each success, in the same session, of 50 names a day.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from guard.core.event import UNKNOWN_ACCOUNT, Kind, Sensor, Service
from guard.core.generations import Generations
from guard.core.identify import Identification
from guard.core.outcome import Outcome
from guard.core.plain import cut
from guard.core.recall import Recall, Told, dump
from guard.core.sender import REPEAT, Attempt, Request, Sender, Session, State
from guard.core.tally import Table
from guard.core.units import SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guard.core.address import Source
    from guard.core.event import SecurityEvent
    from guard.core.plain import Reader, Row, Value

HOLD = Duration(3 * SECOND)
GRAIN = Duration(SECOND // 10)
"""What was held is counted ten times a second, in the same instant: a flood would wake the guard for each."""
EXONERATE = Duration(5 * SECOND)
"""A success clears no attempt older than this."""
OPEN_LIMIT = 12
"""Weak attempts of a site that may be open at once; its trusted accounts come on top while it has successes."""
SESSIONS_LIMIT = 32_768
"""Sessions remembered, of all senders: about 1 kB each."""
HELD_LIMIT = 100_000
"""Attempts that are held at once; beyond, they count at once, and nothing is lost."""

_WALLS = frozenset({"not_match_endpoint_acl", "not_match_endpoint_contact_acl"})
"""What an ACL refuses before authentication; the other names are raised by phones that have authenticated."""


class Attempts:
    """Folds events. `take` gives what is to be counted at once, `release` what has been held long enough."""

    def __init__(self) -> None:
        self.opened = 0
        self.counted = 0
        self.exonerated = 0
        self.unseen = 0
        self._senders: Generations[Source, Sender] = Generations(SESSIONS_LIMIT, Sender.size)
        self._held: deque[Request] = deque()
        self._told: deque[Told] = deque()
        self._identification = Identification()
        self._recall = Recall(self._senders)

    @property
    def open(self) -> int:
        """How many attempts are held."""
        return sum(request.state is State.OPEN for request in self._held)

    def held_of(self, site: Source) -> list[Instant]:
        """Return when each attempt of a site that is held will count."""
        sender = self._senders.get(site)
        return [] if sender is None else sorted(request.due for request in sender.open)

    @property
    def forgotten(self) -> int:
        """How many senders, and names of accounts, were forgotten because a table was full: they count anew."""
        return self._senders.forgotten + self._identification.forgotten

    def tables(self) -> Iterator[Table]:
        """Give how full each table is; what does not fit into the held ones counts at once, so none is lost."""
        yield self._senders.table("senders")
        yield self._identification.table
        yield Table("held_attempts", len(self._held), HELD_LIMIT, 0)

    @property
    def deadline(self) -> Instant | None:
        """The instant at which the next held attempt counts."""
        while self._held and self._held[0].state is not State.OPEN:
            self._held.popleft()
        ends = [self._held[0].due] if self._held else []
        if self._told:
            ends.append(self._told[0][0])
        return min(ends, default=None)

    def release(self, now: Instant) -> list[Attempt]:
        """Count the attempts that were held until now."""
        while self._told and self._told[0][0] <= now:
            _, session, kind, number = self._told.popleft()
            self.unseen += session.heard_by_ami(kind) < number
        out = []
        while self._held and self._held[0].due <= now:
            request = self._held.popleft()
            if request.state is State.OPEN:
                out.append(self._count(request))
        return out

    def dump(self) -> Iterator[Row]:
        """Give the attempts under way, and what successes have shown."""
        yield from dump(self._senders, self._held, self._told)
        yield from cut(self._identification.dump(), "shown")

    def restore(self, row: Sequence[Value], read: Reader) -> None:
        """Take back a row; `resume` follows the last one."""
        if row[0] == "shown":
            self._identification.restore(row[1:], read)
        else:
            self._recall.restore(row, read)

    def resume(self) -> None:
        """Hold again what was held."""
        held, told = self._recall.finish()
        self._held.extend(held)
        self._told.extend(told)
        self.opened += len(held)

    def succeed(self, event: SecurityEvent, site: Source, now: Instant, *, first: bool) -> None:
        """Clear one attempt of a phone that has authenticated, and learn how this Asterisk knows its phones.

        `first` says that it is the first success of this account at this site.
        """
        sender = self._senders.get(site)
        session = sender.sessions.get(event.session) if sender else None
        if session is None or session.latest is None or session.latest.kind is not Kind.INVALID_ACCOUNT_ID:
            if first:
                self._identification.see_plain()
            return
        if not self._identification.see_late(site, event.account, session.latest.event.account, now):
            return
        for request in session.requests.values():
            if request.state is State.OPEN and now - request.at <= EXONERATE:
                request.close(State.EXONERATED)
                self.exonerated += 1
                return

    def take(
        self, event: SecurityEvent, site: Source, at: Instant, now: Instant, extra: int = 0
    ) -> list[Attempt] | Outcome:
        """Fold an event; give the attempts that count now, this event's own the last, or why it counts none.

        `extra` is how many more attempts of the site may be open because of successes of the last minute.
        """
        service, kind = event.service, event.kind
        if service is Service.PJSIP:
            if kind is Kind.CHALLENGE_RESPONSE_FAILED:
                return self._answer(event, self._session(event, site), at, now)
            if kind is Kind.INVALID_ACCOUNT_ID or (kind is Kind.CHALLENGE_SENT and event.account == UNKNOWN_ACCOUNT):
                return self._request(event, self._session(event, site), at, now, OPEN_LIMIT + extra)
            if kind is Kind.FAILED_ACL and event.acl in _WALLS:
                return self._wall(event, self._session(event, site), at, now)
        elif service is Service.SIP and event.sensor is Sensor.MESSAGES:
            return self._answer(event, self._session(event, site), at, now)
        self.opened += 1
        self.counted += 1
        return [Attempt(event, kind, at, event.account, 1, at, proven=event.proven)]

    # One handler for each sort of event.

    def _request(
        self, event: SecurityEvent, session: Session, at: Instant, now: Instant, limit: int
    ) -> list[Attempt] | Outcome:
        challenged = event.kind is Kind.CHALLENGE_SENT
        if not challenged and self._told_before(event, session, at, now):
            return Outcome.FOLDED
        if challenged:
            if session.latest is not None and session.latest.is_twin(at):
                return Outcome.FOLDED
        else:
            known = session.requests.get(event.account)
            if known is not None and known.is_repeat(at):
                known.told += 1  # its ChallengeSent, or the answer's failure, comes too
                return Outcome.FOLDED
            twin = session.requests.pop(None, None)  # the ChallengeSent was written before its InvalidAccountID
            if twin is not None and at - twin.at < REPEAT:
                session.requests[event.account] = twin
                twin.name(event)
                if twin.state is not State.OPEN:
                    return Outcome.FOLDED
                return [self._count(twin)] if event.sensor is Sensor.MESSAGES else Outcome.FOLDED
        self.opened += 1
        request = session.ask(None if challenged else event.account, event, at)
        request.told = not challenged
        if not self._may_hold(event, session, now):
            return [self._count(held) for held in session.open_requests()]
        request.hold(Instant((now + HOLD) // GRAIN * GRAIN))
        self._held.append(request)
        opened = session.open
        return [self._count(held) for held in list(opened)] if len(opened) > limit else Outcome.HELD

    def _answer(self, event: SecurityEvent, session: Session, at: Instant, now: Instant) -> list[Attempt] | Outcome:
        told = event.service is Service.PJSIP and self._told_before(event, session, at, now)
        if event.sensor is not Sensor.MESSAGES and session.answered_before(event):
            return Outcome.FOLDED
        if told:
            return Outcome.FOLDED
        request = session.latest if event.account == UNKNOWN_ACCOUNT else session.requests.get(event.account)
        account = event.account if request is None else request.event.account
        number, began = session.number(account, at)
        out = []
        before: frozenset[Kind] = frozenset()
        if request is not None:
            if request.state is State.OPEN:
                out.append(self._count(request))
            if number == 1 and request.state is State.COUNTED:
                if request.kind is Kind.FAILED_ACL:
                    return Outcome.FOLDED
                before = frozenset({request.kind})
        if not before:
            self.opened += 1
            self.counted += 1
        return [
            *out,
            Attempt(event, event.kind, at, account, number, began, before, event.proven or session.vouches(event)),
        ]

    def _wall(self, event: SecurityEvent, session: Session, at: Instant, now: Instant) -> list[Attempt] | Outcome:
        if self._told_before(event, session, at, now):
            return Outcome.FOLDED
        known = session.requests.get(event.account)
        if known is not None and known.kind is Kind.FAILED_ACL and known.is_repeat(at):
            known.told += 1
            return Outcome.FOLDED
        twin = session.requests.pop(None, None)
        before: frozenset[Kind] = frozenset()
        if twin is not None and twin.state is State.OPEN:
            twin.close(State.COUNTED)
        elif twin is not None and twin.state is State.COUNTED and at - twin.at < REPEAT:
            before = frozenset({twin.kind})
        else:
            self.opened += 1
        self.counted += not before
        request = session.ask(event.account, event, at)
        request.kind = Kind.FAILED_ACL
        request.told = 1
        request.close(State.COUNTED)
        proven = event.proven or session.vouches(event)
        return [Attempt(event, event.kind, at, event.account, 1, at, before, proven)]

    def _told_before(self, event: SecurityEvent, session: Session, at: Instant, now: Instant) -> bool:
        """Tell whether the other sensor has told of this already; if not, `messages` waits for AMI to tell it too."""
        told, number = session.hear(event, at)
        if not told and event.sensor is Sensor.MESSAGES and len(self._told) < HELD_LIMIT:
            self._told.append((Instant((now + EXONERATE) // GRAIN * GRAIN), session, event.kind, number))
        return told

    def _may_hold(self, event: SecurityEvent, session: Session, now: Instant) -> bool:
        if event.sensor is Sensor.MESSAGES or len(session.requests) > 1 or len(self._held) >= HELD_LIMIT:
            return False
        return self._identification.is_late(now)

    def _count(self, request: Request) -> Attempt:
        request.close(State.COUNTED)
        self.counted += 1
        event = request.event
        proven = event.proven or request.session.vouches(event)
        return Attempt(event, request.kind, request.at, event.account, 1, request.at, proven=proven)

    def _session(self, event: SecurityEvent, site: Source) -> Session:
        sender = self._senders.touch(site)
        if sender is None:
            sender = Sender()
            self._senders.put(site, sender)
        session, is_new = sender.session(event.session)
        if is_new:
            self._senders.grow(1)
        session.proven = session.proven or event.proven
        return session
