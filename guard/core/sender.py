"""What is remembered of a sender while its attempts fold: its sessions, their requests and answers. All bounded.

An Attempt is what comes of them for the rules.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Sensor
from guard.core.plain import event_row
from guard.core.units import NEVER, SECOND, Duration, Instant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guard.core.event import SecurityEvent
    from guard.core.plain import Reader, Row, Value

REPEAT = Duration(32 * SECOND)
"""How long a request is sent again: 64 * T1 (RFC 3261, 17.1.1.2, timers B and F)."""
REPEATS = 8
"""How often: SIP sends a request up to 11 times, but hears of it after the first few; a lossy line was seen to make
three events of one. A repeat without end is no retransmission."""

PAIRING = Duration(5 * SECOND)
"""Lines of the log and events of AMI that tell of one thing are no further apart than this."""

SESSIONS_OF_ONE = 128
ANSWERS_LIMIT = 64
"""Answers of a session that are remembered, and accounts; who goes beyond gets a count for every repeat."""


class State(Enum):
    """Where an attempt stands; it leaves OPEN once."""

    OPEN = "open"
    COUNTED = "counted"
    EXONERATED = "exonerated"


class Attempt(NamedTuple):
    """What the rules are to count now: an attempt, or one more answer of it.

    `kind` is the event's, but a request that only a ChallengeSent told of is an InvalidAccountID. `number` counts the
    answers of one account in one session, from 1, the first of them at `began`. `before` has the kinds under which
    the attempt was counted already: a rule that counts one of those has counted it.
    """

    event: SecurityEvent
    kind: Kind
    at: Instant
    account: str
    number: int = 1
    began: Instant = Instant(0)
    before: frozenset[Kind] = frozenset()
    proven: bool = False


class Request:
    """One attempt that began with a request. It is in its sender's `open` as long as it is held."""

    __slots__ = ("_repeats", "_twins", "at", "due", "event", "kind", "session", "state", "told")

    def __init__(self, session: Session, event: SecurityEvent, at: Instant) -> None:
        self.session = session
        self.event = event
        self.kind = Kind.INVALID_ACCOUNT_ID
        self.at = at
        self.due = at
        self.state = State.OPEN
        self.told = 0  # events that say so in so many words; each brings a ChallengeSent to `<unknown>` besides
        self._twins = 0
        self._repeats = 0

    def is_repeat(self, at: Instant) -> bool:
        """Tell whether the same request at the instant `at` is this one, sent again; no more than REPEATS times."""
        if at - self.at >= REPEAT or self._repeats >= REPEATS:
            return False
        self._repeats += 1
        return True

    def is_twin(self, at: Instant) -> bool:
        """Tell whether a challenge of nobody at the instant `at` belongs to this request."""
        if self._twins < self.told and at - self.at < REPEAT:
            self._twins += 1
            return True
        return self.is_repeat(at)

    def name(self, event: SecurityEvent) -> None:
        """Take over the event that names the account, after its ChallengeSent."""
        self.event = event
        self.told += 1
        self._twins += 1

    def hold(self, due: Instant) -> None:
        """Keep it open until `due`."""
        self.due = due
        self.session.open[self] = None

    def dump(self) -> Row:
        """Give all values but its session."""
        told = int(self.told), self._twins, self._repeats
        return self.kind, self.at, self.due, self.state.value, *told, event_row(self.event)

    @classmethod
    def restored(cls, values: Value, session: Session, read: Reader) -> Request:
        """Make it of the values of an earlier life; it is not held yet."""
        kind, at, due, state, told, twins, repeats, event = read.many(values, 8)
        made = cls(session, read.event(event), read.instant(at))
        made.kind, made.due, made.state = Kind(read.text(kind)), read.end(due), State(read.text(state))
        made.told, made._twins, made._repeats = read.whole(told), read.whole(twins), read.whole(repeats)
        return made

    def close(self, state: State) -> None:
        """Settle it."""
        self.state = state
        self.session.open.pop(self, None)


class Session:
    """What one Call-ID of a sender has asked for and answered; `open` is the sender's.

    It does not know its sender: what is forgotten shall be gone at once, and not wait for a collection of cycles.
    """

    __slots__ = ("_answers", "_heard", "_heard_at", "_numbers", "latest", "open", "proven", "requests")

    def __init__(self, opened: dict[Request, None]) -> None:
        self.open = opened
        self.requests: dict[str | None, Request] = {}  # by account; None: only a ChallengeSent has told of it
        self.latest: Request | None = None
        self.proven = False
        self._answers: dict[int, int] = {}
        self._numbers: dict[str, tuple[int, Instant]] = {}
        self._heard: dict[Kind, list[int]] = {}  # events of AMI, lines of the log
        self._heard_at = NEVER

    def ask(self, account: str | None, event: SecurityEvent, at: Instant) -> Request:
        """Note a new request."""
        self.requests.pop(account, None)
        if len(self.requests) >= ANSWERS_LIMIT:
            del self.requests[next(iter(self.requests))]
        request = self.requests[account] = self.latest = Request(self, event, at)
        return request

    def dump(self) -> Row:
        """Give all that is known but the answers: their hashes mean nothing to another process.

        So a repeat of an answer over a restart counts as one answer more.
        """
        latest = next((place for place, request in enumerate(self.requests.values()) if request is self.latest), -1)
        return (
            self.proven, self._heard_at, tuple((kind, *counts) for kind, counts in self._heard.items()),
            tuple((account, *number) for account, number in self._numbers.items()), latest,
            tuple((account, request.dump()) for account, request in self.requests.items()),
        )  # fmt: skip

    def restore(self, values: Sequence[Value], read: Reader) -> None:
        """Take back what an earlier life knew."""
        proven, heard_at, heard, numbers, latest, requests = values
        self.proven, self._heard_at = bool(proven), read.instant(heard_at)
        for kind, ami, log in read.rows(heard, 3, len(Kind)):
            self._heard[Kind(read.text(kind))] = [read.whole(ami), read.whole(log)]
        for account, count, began in read.rows(numbers, 3, ANSWERS_LIMIT):
            self._numbers[read.text(account)] = read.whole(count), read.instant(began)
        for account, request in read.rows(requests, 2, ANSWERS_LIMIT):
            self.requests[None if account is None else read.text(account)] = Request.restored(request, self, read)
        place = read.whole(latest)
        self.latest = None if place < 0 else list(self.requests.values())[place]

    def open_requests(self) -> list[Request]:
        """Return what is open here, the newest last."""
        return [request for request in self.requests.values() if request.state is State.OPEN]

    def answered_before(self, event: SecurityEvent) -> bool:
        """Tell whether this very answer was given before, not more than REPEATS times, and note it.

        An empty one tells nothing: Asterisk had none to report.
        """
        answer = hash((event.account, event.challenge, event.response))
        times = self._answers.get(answer, 0)
        if times or len(self._answers) < ANSWERS_LIMIT:
            self._answers[answer] = times + 1
        return 0 < times <= REPEATS and event.response != ""

    def number(self, account: str, at: Instant) -> tuple[int, Instant]:
        """Count an answer for an account; return which one it is and when the first came."""
        if account not in self._numbers and len(self._numbers) >= ANSWERS_LIMIT:
            self._numbers.clear()
        count, began = self._numbers.get(account, (0, at))
        self._numbers[account] = count + 1, began
        return count + 1, began

    def hear(self, event: SecurityEvent, at: Instant) -> tuple[bool, int]:
        """Count what a sensor tells; return whether the other one has told it before, and which one of its kind it is.

        Each sensor's count stands for itself, so the larger is what happened, and no order of arrival is assumed.
        """
        if not -PAIRING <= at - self._heard_at <= PAIRING:
            self._heard.clear()
        self._heard_at = max(at, self._heard_at)
        counts = self._heard.setdefault(event.kind, [0, 0])
        mine = 1 if event.sensor is Sensor.MESSAGES else 0
        counts[mine] += 1
        return counts[mine] <= counts[1 - mine], counts[mine]

    def heard_by_ami(self, kind: Kind) -> int:
        """Return how many of a kind AMI has told of, of those that are not too long ago."""
        return self._heard.get(kind, (0, 0))[0]

    def vouches(self, event: SecurityEvent) -> bool:
        """Tell whether AMI saw this session over a connection, so that a line of the log is proven too."""
        return self.proven and event.sensor is Sensor.MESSAGES


class Sender:
    """The sessions of one site, the oldest first, and its attempts that are open."""

    __slots__ = ("open", "sessions")

    def __init__(self) -> None:
        self.sessions: dict[str, Session] = {}
        self.open: dict[Request, None] = {}

    def size(self) -> int:
        """Return what it takes in its table."""
        return 1 + len(self.sessions)

    def session(self, key: str) -> tuple[Session, bool]:
        """Return a session, and whether it makes this sender larger."""
        session = self.sessions.get(key)
        if session is not None:
            return session, False
        full = len(self.sessions) >= SESSIONS_OF_ONE
        if full:
            del self.sessions[next(iter(self.sessions))]
        session = self.sessions[key] = Session(self.open)
        return session, not full
