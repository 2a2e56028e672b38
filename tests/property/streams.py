"""Streams of everything that can happen to an engine, drawn so that the hard cases come often.

Random events almost never fill a window the right way. So bursts are drawn instead of events, pauses that land on the
edges of windows and bans, few addresses that lie in each other's networks, and an allowlist in their midst.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import strategies as st

from guard.core.address import covers, overlap, parse_host, parse_source
from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.outcome import Outcome
from guard.core.rule import Mode, Scope
from guard.core.units import HOUR, MINUTE, SECOND
from tests.events import event, rule

START = 10_000 * SECOND
HOSTS = [parse_host(f"198.51.100.{last}") for last in (1, 2, 3, 7)] + [
    parse_host(f"2001:db8::{last}") for last in (1, 2)
]
NETWORKS = [parse_source(text) for text in ("198.51.100.0/24", "198.51.100.0/30", "198.51.100.7", "2001:db8::/64")]

RULES = [
    rule("guessing", ban=(MINUTE, 3 * MINUTE)),
    rule("network", weights={Kind.CHALLENGE_RESPONSE_FAILED: 1, Kind.INVALID_ACCOUNT_ID: 2}, threshold=7,
         prefix={4: 24, 6: 48}, proven_only=True, ban=(2 * MINUTE,)),
    rule("ami", services=frozenset({Service.AMI}), weights={Kind.INVALID_PASSWORD: 2}, ban=(MINUTE,), threshold=4),
    rule("watched", weights={Kind.INVALID_ACCOUNT_ID: 1}, mode=Mode.OBSERVE, threshold=2),
    rule("names", weights={Kind.INVALID_ACCOUNT_ID: 1, Kind.FAILED_ACL: 1}, distinct=True, threshold=4),
]  # fmt: skip

OTHER_RULES = [
    rule("guessing", threshold=5, window=3 * MINUTE, ban=(MINUTE,)),
    rule("guessing", threshold=1, window=SECOND, mode=Mode.OBSERVE),
    rule("names", weights={Kind.INVALID_ACCOUNT_ID: 3}, distinct=True, threshold=4),
    rule("ami", services=frozenset({Service.AMI}), weights={Kind.INVALID_PASSWORD: 1}, threshold=2),
]
"""What the rules may become by a reload."""

PAUSES = [0, 1, SECOND, MINUTE - 1, MINUTE, MINUTE + 1, 3 * MINUTE, HOUR]

WRONG, UNKNOWN, CHALLENGED, REFUSED, LOGIN, RIGHT, LOGGED = (
    (Kind.CHALLENGE_RESPONSE_FAILED, Service.PJSIP),
    (Kind.INVALID_ACCOUNT_ID, Service.PJSIP),
    (Kind.CHALLENGE_SENT, Service.PJSIP),
    (Kind.FAILED_ACL, Service.PJSIP),
    (Kind.INVALID_PASSWORD, Service.AMI),
    (Kind.SUCCESSFUL_AUTH, Service.PJSIP),
    (Kind.INVALID_ACCOUNT_ID, Service.SIP),
)
SESSIONS = ["own", "own", "a", "b"]
ACCOUNTS = ["101", "102", "<unknown>", "each"]
TRANSPORTS = [Transport.UDP, Transport.TCP, Transport.TCP]


def burst(kinds, transports, counts, sessions=("own",), accounts=("101",)):
    """Draw events of one source that arrive together; the first may be old, the rest follow it at once.

    A session of its own folds with nothing; the others are few, so that retransmissions and twins come often.
    """
    ages = st.sampled_from([0, 0, 0, 1, SECOND, MINUTE - 1, MINUTE, 2 * HOUR])
    return st.tuples(
        st.just("burst"),
        st.sampled_from(HOSTS),
        st.sampled_from(kinds),
        st.sampled_from(transports),
        st.sampled_from(counts),
        ages,
        st.sampled_from(sessions),
        st.sampled_from(accounts),
    )


step = st.one_of(
    burst([WRONG, LOGIN], TRANSPORTS, [1, 2, 3, 5]),
    burst([UNKNOWN, LOGGED], TRANSPORTS, [1, 2, 3]),
    burst([UNKNOWN], [Transport.TCP], [5, 14], ["a", "own"], ["each"]),
    burst([UNKNOWN], [Transport.TCP], [4, 5]),
    burst([UNKNOWN], [Transport.TCP], [4, 5], ["own"], ["each"]),
    burst([WRONG, UNKNOWN, CHALLENGED, REFUSED], TRANSPORTS, [1, 2, 5], SESSIONS, ACCOUNTS),
    burst([WRONG, UNKNOWN, CHALLENGED, REFUSED], TRANSPORTS, [1, 2, 5], SESSIONS, ACCOUNTS),
    burst([RIGHT], TRANSPORTS, [1], SESSIONS, ACCOUNTS[:2]),
    st.tuples(st.just("phone"), st.sampled_from(HOSTS), st.sampled_from([0, 1, 5])),
    st.tuples(st.just("scan"), st.sampled_from(HOSTS), st.sampled_from([2, 4])),
    st.tuples(st.just("go_on"), st.sampled_from(HOSTS)),
    st.tuples(st.just("pause"), st.sampled_from(PAUSES)),
    st.tuples(st.just("ban"), st.sampled_from([*HOSTS, *NETWORKS]), st.sampled_from([MINUTE, HOUR])),
    st.tuples(st.just("unban"), st.sampled_from([*HOSTS, *NETWORKS])),
    st.tuples(st.just("allow"), st.sampled_from([*HOSTS, *NETWORKS])),
    st.tuples(st.just("disallow"), st.sampled_from([*HOSTS, *NETWORKS])),
)
streams = st.tuples(st.lists(st.sampled_from(NETWORKS), max_size=1), st.lists(step, min_size=5, max_size=40))


@dataclass
class World:
    """An engine, the kernel its changes make, and what was seen on the way."""

    allow: list
    capacity: int = 3
    now: int = START
    kernel: dict = field(default_factory=dict)  # source: (scope, until)
    promised: dict = field(default_factory=dict)  # source: until, for bans nobody lifted
    seen: set = field(default_factory=set)
    outcomes: list = field(default_factory=list)
    shift: int = 0  # of the clock, by restarts

    def __post_init__(self):
        self.engine = Engine(RULES, allow=self.allow, capacity=self.capacity)

    def take(self, action):
        """Do one step, the way a driver would, and check every law after it."""
        getattr(self, "_" + action[0])(*action[1:])
        self.settle(by_hand=action[0] in {"unban", "allow"})

    def _burst(self, source, what, transport, count, age, session, account):
        kind, service = what
        if service is Service.AMI:
            transport = Transport.TCP
        batch = [
            event(
                source, kind, service, transport, at=self.now - age + number,
                password=kind is Kind.SUCCESSFUL_AUTH,
                session=None if session == "own" else session,
                account=str(number) if account == "each" else account,
                response=str(number % 3),
                acl="not_match_endpoint_acl" if kind is Kind.FAILED_ACL else "",
                sensor=Sensor.MESSAGES if service is Service.SIP or number == 4 else Sensor.AMI,
            )
            for number in range(count)
        ]  # fmt: skip
        outcomes = self.engine.handle(batch, self.now, self.now)
        assert len(outcomes) == len(batch), "every event gets exactly one outcome"
        self.outcomes += outcomes
        self.seen.update(outcomes)
        for outcome in outcomes:
            if self.engine.allow.around(source):
                assert outcome is Outcome.ALLOWED, "who is allowed is not judged"

    def _phone(self, source, wrong):
        """A phone that looks unknown first, and then is right, after some wrong answers or none."""
        session = f"phone-{self.now - self.shift}"
        self._feed(event(source, Kind.INVALID_ACCOUNT_ID, at=self.now, session=session, account="did1"))
        for number in range(wrong):
            self._feed(event(source, at=self.now, session=session, response=str(number)))
        self._feed(event(source, Kind.SUCCESSFUL_AUTH, at=self.now, session=session, password=True))

    def _go_on(self, source):
        """A guesser whom no ban stops."""
        for _ in range(2):
            for _ in range(5):
                self._feed(event(source, transport=Transport.TCP, at=self.now))
            self._pause(SECOND)

    def _scan(self, source, count):
        """Weak attempts that nothing clears: they count when their three seconds are over."""
        for number in range(count):
            self._feed(event(source, Kind.INVALID_ACCOUNT_ID, at=self.now, account=str(number)))
        self._pause(4 * SECOND)

    def _feed(self, one):
        self.outcomes += self.engine.handle([one], self.now, self.now)
        self.seen.add(self.outcomes[-1])

    def _pause(self, length):
        end = self.now + length
        while (deadline := self.engine.deadline) is not None and deadline <= end:
            assert deadline >= self.now, "a deadline is never in the past"
            self.now = deadline
            self.engine.tick(deadline)
            assert self.engine.deadline != deadline, "a deadline that was handled is over"
            self.settle()
        self.now = end
        self.engine.tick(end)

    def _ban(self, source, length):
        if not self.engine.allow.touches(source):
            self.engine.ban(source, length, self.now)

    def _unban(self, source):
        self.engine.unban(source, self.now)

    def _allow(self, source):
        self.engine.allow_source(source, self.now)

    def _disallow(self, source):
        self.engine.disallow_source(source)

    def settle(self, *, by_hand=False):
        for op, ban in self.engine.take_changes():
            self.seen.add(op)
            if op is Op.ADD:
                assert ban.since <= self.now < ban.until, "a ban starts now and lasts"
                assert not self.engine.allow.touches(ban.source), "nothing allowed is ever banned"
                self.kernel[ban.source] = (ban.scope, ban.until)
                self.engine.confirm([ban.source], self.now)
                if ban.evidence == "proven":
                    self.promised[ban.source] = max(ban.until, self.promised.get(ban.source, 0))
                if ban.scope is Scope.SLOW or ban.by == "timer":
                    self.seen.add(ban.scope if ban.scope is Scope.SLOW else ban.by)
                if ban.source[1] < 30:
                    self.seen.add("network")
            elif op is Op.REMOVE:
                assert self.kernel.pop(ban.source)[1] > self.now, "what is removed was there"
                if by_hand:  # whoever lifts a network lets in all of it, the hosts that were banned before too
                    self.promised = {held: end for held, end in self.promised.items() if not covers(ban.source, held)}
            elif op is Op.EXPIRE:
                assert ban.until <= self.now, "no ban ends early"
        self.kernel = {source: held for source, held in self.kernel.items() if held[1] > self.now}
        self.check()

    def check(self):
        """The laws that hold at every instant."""
        ledger = self.engine.ledger
        assert {ban.source: (ban.scope, ban.until) for ban in ledger} == self.kernel, "ledger and kernel are equal"
        assert not any(self.engine.allow.touches(source) for source in self.kernel), "nothing allowed is in the kernel"
        for source, (scope, _) in self.kernel.items():
            for other, (other_scope, _) in self.kernel.items():
                assert other == source or scope is not other_scope or not overlap(source, other), "bans never overlap"
        for source, until in list(self.promised.items()):
            if until <= self.now:
                del self.promised[source]
                continue
            assert any(covers(held, source) and end >= until for held, (_, end) in self.kernel.items()), "let in early"
        sizes = {}
        for source, (scope, _) in self.kernel.items():
            key = (scope, source[0], source[1])
            sizes[key] = sizes.get(key, 0) + 1
        assert max(sizes.values(), default=0) <= self.capacity, "a set outgrew its size"
        counts = self.engine.tally.counts
        settled = counts["attempts.counted"] + counts["attempts.exonerated"]
        open_now = self.engine._judge._attempts.open
        assert counts["attempts.opened"] == settled + open_now, "opened = counted + exonerated + open"
        self.seen.update(name for name in ("attempts.exonerated", "alarms.raised") if counts[name])
        judged = sum(count for name, count in counts.items() if name.startswith("outcome."))
        assert judged == counts["events"] == len(self.outcomes), "outcomes sum to events"
        assert all(ban.scope is not Scope.ALL for ban in ledger if ban.evidence == "unproven"), (
            "unproven closes SIP only"
        )
        assert all(ban.until - ban.since <= HOUR for ban in ledger if ban.evidence == "unproven"), "and for an hour"

    def end(self):
        """Let everything run out: bans end when nothing happens any more."""
        while (deadline := self.engine.deadline) is not None:
            self.take(("pause", deadline - self.now))
        assert not len(self.engine.ledger)
        assert self.engine._judge._attempts.open == 0, "nothing is held for ever"
        assert not self.kernel


def play(stream):
    """Run a stream to its end; return the world it made."""
    allow, steps = stream
    world = World(allow)
    for action in steps:
        world.take(action)
    world.end()
    return world
