"""The laws of docs/ARCHITECTURE.md, on streams of everything that can happen."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guard.core.ban import Op
from guard.core.engine import Engine
from guard.core.event import Transport
from guard.core.outcome import Outcome
from guard.core.rule import Mode
from guard.core.units import MINUTE, SECOND
from guard.core.window import Window
from tests.events import event, rule
from tests.property.streams import HOSTS, OTHER_RULES, RULES, START, World, play, streams


@given(streams)
def test_the_laws_hold_after_every_step(stream):
    play(stream)


@given(streams)
def test_extra_ticks_change_nothing(stream):
    allow, steps = stream
    plain, ticked = World(allow), World(allow)
    for action in steps:
        plain.take(action)
        ticked.take(action)
        for _ in range(2):
            ticked.engine.tick(ticked.now)
        ticked.settle()
        assert (plain.kernel, plain.outcomes, plain.engine.deadline) == (
            ticked.kernel, ticked.outcomes, ticked.engine.deadline,
        )  # fmt: skip


@given(streams)
def test_how_events_are_cut_into_batches_changes_nothing(stream):
    allow, steps = stream
    plain, cut = World(allow), World(allow)

    def one_by_one(events, now, wall, handle=cut.engine.handle):
        return [outcome for single in events for outcome in handle([single], now, wall)]

    cut.engine.handle = one_by_one
    for action in steps:
        plain.take(action)
        cut.take(action)
        assert (plain.kernel, plain.outcomes) == (cut.kernel, cut.outcomes)


@given(streams, st.integers(0, 3))
def test_a_reload_with_the_same_rules_changes_nothing(stream, every):
    allow, steps = stream
    plain, reloaded = World(allow), World(allow)
    for number, action in enumerate(steps):
        plain.take(action)
        reloaded.take(action)
        if number % 4 >= every:
            reloaded.engine.reload([replace(rule, weights=dict(rule.weights)) for rule in RULES])
        reloaded.settle()
        assert (plain.kernel, plain.outcomes, plain.engine.deadline, plain.engine.tally.counts) == (
            reloaded.kernel, reloaded.outcomes, reloaded.engine.deadline, reloaded.engine.tally.counts,
        )  # fmt: skip


others = st.lists(st.sampled_from([*RULES, *OTHER_RULES]), max_size=4, unique_by=lambda rule: rule.name)


@given(streams, st.lists(st.tuples(others, st.sampled_from(Mode)), min_size=1, max_size=5))
def test_the_laws_hold_whatever_is_reloaded(stream, reloads):
    """Also with rules that come, go, change, and only observe for a while; no count goes back, no ban is lost."""
    allow, steps = stream
    world, before = World(allow), {}
    for number, action in enumerate(steps):
        world.take(action)
        rules, mode = reloads[number % len(reloads)]
        banned = dict(world.kernel)
        world.engine.reload(rules, mode=mode)
        world.settle()
        assert world.kernel == banned, "a reload bans nobody and lets nobody in"
        counts = dict(world.engine.tally.counts)
        assert all(counts[name] >= count for name, count in before.items()), "a count never goes back"
        before = counts
    world.end()


offence = st.tuples(
    st.sampled_from([0, 0, 1, 1, 2, 20, 30, 49, 50, 99, 100, 101, 250]),  # pause before it is read
    st.sampled_from([0, 0, 1, 30, 50, 60, 99, 100]),  # its age then
    st.sampled_from([1, 1, 1, 3]),  # weight
    st.sampled_from([HOSTS[0], HOSTS[0], HOSTS[0], HOSTS[1]]),
    st.booleans(),
)


@given(st.lists(offence, min_size=10, max_size=60), st.integers(2, 6))
def test_the_window_is_exact(offences, threshold):
    """Against a model that remembers everything: are there `threshold` in (now - span, now]?"""
    window, history, now = Window(100, threshold), [], 1_000
    for pause, age, weight, source, proven in offences:
        now += pause
        total = window.add(source, now - age, weight, now, proven=proven)
        history.append((source, now - age, weight))
        exact = sum(w for s, at, w in history if s == source and now - 100 < at <= now)
        assert (total >= threshold) == (exact >= threshold)
        if exact < threshold:
            assert total == exact
        elif total != exact:  # only the newest `threshold` are kept
            assert threshold <= total <= exact


@given(
    st.lists(offence, min_size=10, max_size=60),
    st.lists(st.tuples(st.integers(20, 300), st.integers(1, 6)), min_size=1, max_size=6),
)
def test_a_window_of_another_span_keeps_what_fits(offences, shapes):
    """Against two models: one forgets at once what leaves the window as it is, one never."""
    span, most = least = shapes[0]
    window, kept, history, now = Window(span, most), [], [], 1_000
    for number, (pause, age, weight, source, proven) in enumerate(offences):
        now += pause
        kept = [one for one in kept if now - span < one[1]]
        if number % 5 == 4:
            span, most = shapes[number // 5 % len(shapes)]
            least = min(least, (0, most), key=lambda shape: shape[1])
            window.reshape(span, most)
            kept = [one for one in kept if now - span < one[1]]
        total = window.add(source, now - age, weight, now, proven=proven)
        for memory in (kept, history):
            memory.append((source, now - age, weight))
        surely, exact = (
            sum(w for s, at, w in memory if s == source and now - span < at <= now) for memory in (kept, history)
        )
        assert min(surely, least[1]) <= total <= exact
    assert window.evicted == 0


PAUSES = [0, SECOND, 20 * SECOND, MINUTE - 1, MINUTE, 2 * MINUTE]


@given(st.lists(st.tuples(st.sampled_from(PAUSES), st.booleans()), min_size=6, max_size=40))
def test_a_source_is_banned_exactly_at_its_threshold(steps):
    """Against a model of one rule and one source: three offences in a minute, banned for 20 s, from zero again."""
    guard, now = Engine([rule(ban=(20 * SECOND,))]), START
    recent, banned_until = [], 0
    for pause, proven in steps:
        now += pause
        transport = Transport.TCP if proven else Transport.UDP
        (outcome,) = guard.handle([event(HOSTS[0], transport=transport, at=now)], now, now)
        if now < banned_until:
            assert outcome is Outcome.ALREADY_BANNED
            continue
        recent = [at for at in recent if now - MINUTE < at] + [now]
        if len(recent) < 3:
            assert outcome is Outcome.COUNTED
        else:
            assert outcome is Outcome.BANNED
            recent, banned_until = [], now + 20 * SECOND


def test_streams_are_interesting():
    """A generator that does not reach the hard cases proves nothing: each is in at least a tenth of the streams."""
    reached, total = Counter(), 0

    @settings(max_examples=200, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(streams)
    def survey(stream):
        nonlocal total
        total += 1
        world = play(stream)
        reached.update(world.seen)
        counts = world.engine.tally.counts
        reached.update(name for name in ("bans.dropped", "bans.refused") if counts[name])
        strikes = [ban.strike for ban in world.engine.ledger]
        reached["strike"] += any(strike > 1 for strike in strikes)

    survey()
    rare = {
        case: reached[case] / total
        for case in (
            *(o for o in Outcome if o is not Outcome.SPECIAL),
            Op.ADD,
            Op.REMOVE,
            Op.EXPIRE,
            Op.OBSERVE,
            "network",
            "attempts.exonerated",
            "timer",
        )
        if reached[case] / total < 0.1
    }
    assert not rare


def test_a_full_table_is_reached():
    """The rarest case by hand: more unproven bans than a set holds."""
    world = World([], capacity=2)
    for host in HOSTS[:4]:
        world.engine.handle([event(host, at=world.now) for _ in range(3)], world.now, world.now)
        world.outcomes += [None] * 3
        world.settle()
    assert world.engine.tally.counts["bans.dropped"] == 2
    assert len(world.engine.ledger) == 2
