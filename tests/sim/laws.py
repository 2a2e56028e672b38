"""The laws of docs/ARCHITECTURE.md as the simulation checks them: after each step, and where something is said.

They know what was promised to people and to whom it was promised; they look at the kernel and ask the engine, and they
keep their own account of what came over the wire.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import suppress
from functools import partial

from guard.core.address import covers, overlap, show
from guard.core.ban import Op
from guard.core.event import Sensor
from guard.core.outcome import Outcome
from guard.core.rule import Mode
from guard.core.units import SECOND
from guard.errors import GuardError
from guard.store.writer import QUEUE_LIMIT
from tests.sim.asterisk import ALLOWED_ACTIONS
from tests.sim.traffic import FRESH_GUESSES, INNOCENT_SOURCES

PATIENT = 20 * SECOND
"""After others have changed what is ours, or the kernel has refused, so long until it is as it should be."""
ROUND = 1_300_000_000
"""Nanoseconds by which an element's end may differ: it is rounded, a batch may have been slow."""
FAULTS = ("fault of astguard", "a part of astguard has stopped", "fault in the store", "Traceback")


class Broken(AssertionError):
    """A law does not hold."""


class Promise:
    """A ban that was reported as stored. `until` is an instant of this boot, `wall` the earliest end the disk may say."""

    def __init__(self, ban, wall):
        self.ban, self.until, self.wall = ban, ban.until, wall


class Permit:
    """An entry of the allowlist that was reported as stored; `until` is None if it has no end."""

    def __init__(self, length, clock):
        self.length = length
        self.until = None if length is None else clock.mono + length
        self.wall = None if length is None else clock.wall + length

    def restart(self, mono, wall):
        """Take what is left of it in a life that read the state at these times."""
        if self.length is not None:
            self.until = mono + min(self.wall - wall, self.length)


class Laws:
    """Watches the lives of one world."""

    def __init__(self, world):
        self.world = world
        self.clock = world.clock
        self.promises = {}  # by source
        self.permits = {}  # what a command was told is allowed and stored: until when by the wall clock, or None
        self.lifting = set()  # sources that somebody asked to let in
        self.kept = {}  # wall clock's end of bans on their way to the disk
        self.outcomes = Counter()
        self.fresh = Counter()  # events of sources that have never called before
        self.live = None
        self.lapsed = False  # the state was damaged: the disk's promises are void
        self.complained = None
        self.quiet_since = 0

    def check(self, holds, text, *details):
        if not holds:
            self.complained = self.complained or " ".join(map(str, (text, *details)))
            raise Broken(self.complained)

    def fault(self, context):
        """Take what asyncio's loop found nobody to tell."""
        if self.live is not None and not self.live.dead:
            self.complained = self.complained or f"{context.get('message')}: {context.get('exception')!r}"

    def said(self, record):
        """Take a line of the daemon's log."""
        text = record.getMessage()
        self.check(all(char.isprintable() for char in text), "text of strangers in the log:", ascii(text))
        self.check("s3cret" not in text, "the secret is in the log")
        self.check(not any(word in text for word in FAULTS), "a fault:", text, repr(record.exc_info))
        self.world.note(f"log {record.levelname} {text.replace(str(self.world.folder), '@')}")

    # What is watched in a life.

    def watch(self, life):
        """Look over the shoulders of a life's parts."""
        service = life.service
        engine, keeper = service._enforcer.engine, service._keeper
        self.live = life
        self.outcomes = Counter()
        self.fresh = Counter()
        self.kept = {}
        self.lifting = set()
        for part, name, watcher in (
            (engine, "handle", self._handled),
            (engine, "take_changes", self._changed),
            (engine, "ban", self._banned_by_hand),
            (keeper, "keep", self._kept),
        ):
            setattr(part, name, partial(watcher, life, getattr(part, name)))
        keeper.receipts.on_kept = partial(self._reported, life, keeper.receipts.on_kept)

    def _handled(self, life, handle, events, now, wall):
        outcomes = handle(events, now, wall)
        self.check(len(outcomes) == len(events), "every event gets exactly one outcome")
        engine = life.service._enforcer.engine
        self.outcomes.update(outcomes)
        wire = self.world.asterisk.wire
        for event, outcome in zip(events, outcomes, strict=True):
            self.world.note(f"{outcome} {event.kind} {event.source.hex()}")
            self.world.saw(f"outcome {outcome}")
            self.check(event.source not in INNOCENT_SOURCES, "a forged event was believed:", event)
            if event.sensor is Sensor.AMI and wire is not None:
                wire.heard += 1
            if engine.allow.around(event.source) is not None and outcome is not Outcome.SPECIAL:
                self.check(outcome is Outcome.ALLOWED, "who is allowed was judged:", event)
            if event.source in self.world.fresh and abs(wall - event.at) < 10 * SECOND:
                self.fresh[event.source] += 1
                self._must_be_banned(life, event.source)
        return outcomes

    def _must_be_banned(self, life, source):
        """Who guesses over TCP again and again is banned at once, whatever else goes on."""
        engine = life.service._enforcer.engine
        if self.fresh[source] >= FRESH_GUESSES and engine.mode is Mode.ENFORCE and not engine.allow.around(source):
            self.fresh[source] = -1_000_000
            self.check(engine.ledger.covering(source) is not None, "a guesser was not banned:", show(source))
            self.world.saw("guesser banned")

    def _banned_by_hand(self, life, ban, source, *arguments, **options):
        self.lifting = {held for held in self.lifting if not overlap(held, source)}
        return ban(source, *arguments, **options)

    def _changed(self, life, take):
        changes = take()
        engine = life.service._enforcer.engine
        for op, ban in changes:
            if op is Op.ADD:
                self.check(not engine.allow.touches(ban.source), "somebody allowed is banned:", show(ban.source))
                self.check(
                    not any(overlap(ban.source, one) and ban.source[1] > 24 for one in INNOCENT_SOURCES),
                    "an innocent is banned",
                )
            elif op is Op.EXPIRE:
                self.check(ban.until <= engine.now, "a ban ended early:", ban)
            elif op is Op.REMOVE:
                asked = ban.source in self.lifting or engine.allow.touches(ban.source)
                replaced = engine.ledger.covering(ban.source, ban.scope) is not None
                self.check(
                    asked or replaced or ban.evidence == "unproven" or ban.origin == "adopted",
                    "a ban was lifted and nobody had asked:",
                    ban,
                )
                if asked:
                    self.promises.pop(ban.source, None)
        return changes

    def _kept(self, life, keep, change):
        if change.op is Op.ADD:
            ban = change.ban
            held = (ban.source, ban.scope) in self.world.kernel.elements()
            self.check(held or ban.until - self.clock.mono < ROUND, "kept before the kernel had it:", ban)
            self.kept[ban] = ban.until + self.clock.wall - self.clock.mono
        return keep(change)

    def _reported(self, life, report, change, *, stored=True):
        op, ban = change
        if life.dead:
            return
        if op is Op.ADD:
            self.world.saw("ban reported")
            wall = self.kept.pop(ban, None)
            self.check(wall is not None, "a ban was reported that the keeper has not got:", ban)
            if stored:
                self.promises[ban.source] = Promise(ban, wall)
            else:
                self.world.saw("stored=no")
                self.promises.pop(ban.source, None)
        else:
            self.promises.pop(ban.source, None)
        report(change, stored=stored)

    def asked(self, what, source):
        """Take note of what somebody asks for, before it is answered."""
        if what in {"remove_ban", "add_allow"}:
            self.lifting.add(source)
            self.promises = {held: promise for held, promise in self.promises.items() if not overlap(held, source)}
        if what in {"add_allow", "remove_allow"}:
            self.permits.pop(source, None)

    def answered(self, life, what, arguments, answer):
        """Take an answer of the desk."""
        self.world.note(f"answer {what} {type(answer).__name__}")
        if isinstance(answer, GuardError):
            self.world.saw(f"refused {what}")
            self.check(str(answer) and str(answer).isprintable(), "an error that says nothing:", repr(answer))
            return
        self.world.saw(f"answered {what}")
        if what == "add_allow" and answer["stored"] and not life.dead:
            source, length = arguments
            self.permits[source] = Permit(length, self.clock)
        if what == "list_bans":
            self.check(
                {ban["source"] for ban in answer} == {show(ban.source) for ban in life.service._enforcer.engine.ledger},
                "bans list",
            )

    def buried(self, life):
        """Take note that a life is over."""
        self.live = None
        self.permits = {} if self.lapsed else self.permits
        shift = self.clock.wall - self.clock.mono
        for promise in self.promises.values():
            promise.wall = min(promise.wall, promise.until + shift)

    # What holds at every step.

    def hold(self, life):
        """Check everything that can be checked now."""
        self.check(self.complained is None, self.complained)
        self.check(self.world.asterisk.asked <= ALLOWED_ACTIONS, "asked Asterisk for", self.world.asterisk.asked)
        if not life.is_up:
            return
        self._sums(life)
        self._limits(life)
        self._ledger(life)
        self._kernel(life)
        self._kept_promises(life)
        self._kept_permits(life)

    def _sums(self, life):
        engine = life.service._enforcer.engine
        counts = engine.tally.counts
        for outcome in Outcome:
            self.check(counts[f"outcome.{outcome}"] == self.outcomes[outcome], "count of", outcome)
        self.check(counts["events"] == sum(self.outcomes.values()), "outcomes sum to events")
        open_now = engine._judge._attempts.open
        settled = counts["attempts.counted"] + counts["attempts.exonerated"]
        if "restored" not in self.world.flags:
            self.check(counts["attempts.opened"] == settled + open_now, "opened = counted + exonerated + open")
        self.check(counts["events.lost"] == 0, "events were lost")
        wire = self.world.asterisk.wire
        link = life.service._link
        if wire is not None and wire.clean and wire.open and link.self_test is not None and link.state == "up":
            self.check(wire.heard == wire.arrived(), "of", wire.arrived(), "events that arrived, judged", wire.heard)
            self.world.saw("stream accounted for")

    def _limits(self, life):
        service = life.service
        for table in service._enforcer.engine.tables():
            self.check(table.entries <= table.limit, "a table over its limit:", table)
        bans = len(service._enforcer.engine.ledger)
        self.check(len(service._enforcer._due) <= bans + len(service._enforcer._held), "what is due outgrew the bans")
        self.check(len(service._logs._waiting) <= 65, "lines of logs wait without limit")
        for made in life.writers:
            self.check(len(made._queue) <= QUEUE_LIMIT + 1, "the disk's queue")
        self.check(len(life.loop._scheduled) < 5_000, "timers pile up")

    def _ledger(self, life):
        engine = life.service._enforcer.engine
        held = {}
        for ban in engine.ledger:
            self.check(not engine.allow.touches(ban.source), "somebody allowed is banned:", show(ban.source))
            self.check(
                not any(covers(ban.source, one) and ban.source[1] > 24 for one in INNOCENT_SOURCES),
                "an innocent is banned",
            )
            for other in held.get(ban.scope, ()):
                self.check(not overlap(ban.source, other), "bans overlap:", show(ban.source), show(other))
            held.setdefault(ban.scope, []).append(ban.source)
            if ban.evidence == "unproven":
                self.check(ban.scope != "all" or ban.origin == "adopted", "an unproven ban closes everything")

    def _kernel(self, life):
        kernel, enforcer = self.world.kernel, life.service._enforcer
        elements = kernel.elements()
        now = self.clock.mono
        pausing = life.service._pause.span is not None
        if pausing and kernel.refused == self.world.refused_before:
            self.check(not elements or self._is_disturbed(), "paused, and the kernel holds", len(elements))
            return
        busy = enforcer.problem or enforcer._retry is not None or enforcer.upkeep.recovery or enforcer.upkeep.waits
        if pausing or busy or self._is_disturbed() or not life.service._healer.adopted:
            return
        ledger = {(ban.source, ban.scope): ban for ban in enforcer.engine.ledger}
        unheard = {source for source, _ in kernel.unheard}
        for key, ban in ledger.items():
            if ban.until - now > ROUND and key[0] not in unheard:
                self.check(key in elements, "the kernel lacks a ban:", show(key[0]), key[1])
                self.check(
                    abs(elements[key] - ban.until) < ROUND,
                    "an element ends at another time:",
                    elements[key] - ban.until,
                )
        for key, end in elements.items():
            if end - now > ROUND and key[0] not in unheard:
                self.check(
                    key in ledger, "the kernel holds what no ban is:", show(key[0]), key[1], (end - now) / SECOND
                )
        for key in elements:
            if key[0] not in unheard:
                self.check(
                    not enforcer.engine.allow.touches(key[0]), "somebody allowed is in the kernel:", show(key[0])
                )
        allow = set(kernel.model._layout.allow) if kernel.model._layout else set()
        self.check(
            allow == set(enforcer.engine.allow),
            "the kernel accepts",
            len(allow),
            "networks, not",
            len(list(enforcer.engine.allow)),
        )
        self.world.saw("kernel compared")

    def _is_disturbed(self):
        at = self.world.kernel.disturbed_at
        return at is not None and self.clock.mono - at < PATIENT

    def _kept_promises(self, life):
        engine, now = life.service._enforcer.engine, self.clock.mono
        for source, promise in list(self.promises.items()):
            if promise.until <= now + ROUND:
                if promise.until <= now - ROUND:
                    del self.promises[source]
                continue
            ban = engine.ledger.covering(source)
            if ban is None and engine.allow.touches(source):
                continue
            self.check(
                ban is not None and ban.until >= promise.until - ROUND,
                "a ban that was reported is gone:",
                show(source),
                (promise.until - now) / SECOND,
            )
            self.world.saw("promise kept")

    def _kept_permits(self, life):
        for source, permit in list(self.permits.items()):
            if permit.until is not None and permit.until < self.clock.mono + 8 * SECOND:
                del self.permits[source]  # an answer waits for the disk, 5 s at most
            elif life.service._enforcer.engine.allow.around(source) is None:
                self.check(False, "an entry that was stored is gone:", show(source))

    def settled(self, life):
        """Look, when all faults have been over for minutes, whether everything has come right."""
        service = life.service
        enforcer, receipts = service._enforcer, service._keeper.receipts
        self.check(life.is_up, "the daemon does not come up")
        self.check(
            service._link.state == "up" and service._link.self_test,
            "the link is",
            service._link.state,
            service._link.problem,
        )
        self.check(not enforcer.problem and not enforcer._due, "the kernel's problem does not end:", enforcer.problem)
        self.check(not enforcer.upkeep.recovery and not enforcer.upkeep.waits, "the recovery does not end")
        self.check(not receipts.problem, "the disk's problem does not end:", receipts.problem)
        self.check(not receipts._changes and not receipts._answers, "reports that never come")
        self.check(not life.answers, "questions that are never answered")
        self.check(enforcer.engine._judge._attempts.open == 0, "held for ever")

    def restarted(self, life):
        """Look, when a later life is up, whether what was promised to people is true."""
        if self.lapsed:
            self.lapsed = False
            self.promises.clear()
            self.permits.clear()
        mono, wall = life.read_at
        for source, promise in list(self.promises.items()):
            promise.until = mono + min(promise.wall - wall, promise.ban.until - promise.ban.since)
            if promise.until < self.clock.mono + 2 * ROUND:
                del self.promises[source]
            elif engine_has(life, source, promise.until):
                self.world.saw("promise over a restart")
        for permit in self.permits.values():
            permit.restart(mono, wall)
        self.world.seen["permit over a restart"] += len(self.permits)


def engine_has(life, source, until):
    """Tell whether a source is banned for as long."""
    ban = life.service._enforcer.engine.ledger.covering(source)
    return ban is not None and ban.until >= until - ROUND


class Handler(logging.Handler):
    """Gives each line of the daemon's log to the laws; what they think of it comes out at the next step."""

    def __init__(self, world):
        super().__init__(logging.INFO)
        self._world = world

    def emit(self, record):
        laws = self._world.laws
        if laws.live is None or laws.live.dead:
            return
        with suppress(Broken):
            laws.said(record)
