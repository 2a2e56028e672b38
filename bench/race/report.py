"""Medians, tables and promises, from the raw figures. What is here reads no clock and no file."""

from __future__ import annotations

from math import ceil
from statistics import median

from bench.quality.report import table
from bench.race.plan import LOAD, SATURATING, SVCRACK, SVCRACK_FASTEST

ASTGUARD, UNGUARDED = "astguard", "no guard"
MOST_ANSWERED, MOST_LATE, MOST_LATE_SATURATED, MOST_CPU = 1, 5.0, 20.0, 0.05
RACE = ["attack", "tool", "attacks", "decided at", "let in after", "answered after", "ban in the kernel", "last packet"]
COST = ["tool", "Asterisk's CPU", "its memory", "messages.log", "security.log", "the guard's CPU", "its memory"]


class Report:
    """All runs of a race: dicts with `tool`, `attack`, `round` and what figures.py and course.py measured."""

    def __init__(self, runs):
        self.runs = runs
        self.tools = list(dict.fromkeys(run["tool"] for run in runs))
        self.attacks = list(dict.fromkeys(run["attack"] for run in runs))

    def of(self, tool, attack):
        """Give the runs of one attack on one tool."""
        return [run for run in self.runs if (run["tool"], run["attack"]) == (tool, attack)]

    def middle(self, tool, attack, *keys):
        """Give the median of a figure, None where there is none."""
        values = [_dig(run, keys) for run in self.of(tool, attack)]
        known = [value for value in values if value is not None]
        return median(known) if known else None

    def race_rows(self):
        """Give a line for each attack and tool."""
        for attack in self.attacks:
            for tool in self.tools:
                runs = self.of(tool, attack)
                if not runs:
                    continue
                if tool == UNGUARDED:
                    speed = median(run["answered"] / max(run["seconds"], 0.001) for run in runs)
                    yield [attack, tool, len(runs), "never", "all", f"all, {speed:,.0f} a second", "", ""]
                    continue
                first = [f"{self.middle(tool, attack, key) or 0:,.0f}" for key in _COUNTS]
                missed = sum(not (run["stopped"] and run["decided"]) for run in runs)
                note = f", not stopped in {missed}" if missed else ""
                last = _time(self.middle(tool, attack, "last_ms")) + note
                yield [attack, tool, len(runs), *first, _time(self.middle(tool, attack, "banned_ms")), last]

    def cost_rows(self):
        """Give a line for each tool: what the flood cost."""
        for tool in self.tools:
            if self.of(tool, LOAD.name):
                cpu, grown, messages, security, guard, memory = (
                    self.middle(tool, LOAD.name, *keys)
                    for keys in (
                        ("asterisk", "cpu_seconds"), ("asterisk", "grown_mb"), ("messages_bytes",),
                        ("security_bytes",), ("guard", "cpu_seconds"), ("guard_mb",),
                    )
                )  # fmt: skip
                guarding = ["", ""] if tool == UNGUARDED else [f"{guard:.2f} s", f"{memory:.0f} MB"]
                logs = [f"{size / 1e6:.1f} MB" for size in (messages, security)]
                yield [tool, f"{cpu:.2f} s", f"{grown:+.1f} MB", *logs, *guarding]

    def promises(self):
        """Give (what astguard promises, what was measured, whether it holds) for all that could be measured."""
        for attack in (SVCRACK, SVCRACK_FASTEST):
            if runs := self.of(ASTGUARD, attack.name):
                most = max(run.get("answered_after", 0) for run in runs)
                yield (
                    f"{attack.name}: guesses answered after the deciding one, at most {MOST_ANSWERED}",
                    f"{most} at most, median {median(run.get('answered_after', 0) for run in runs):g}",
                    _all_stopped(runs) and most <= MOST_ANSWERED,
                )
        for attack, share, limit in (
            (SVCRACK, 1.0, MOST_LATE),
            (SVCRACK_FASTEST, 0.99, MOST_LATE_SATURATED),
            (SATURATING, 0.99, MOST_LATE_SATURATED),
        ):
            if runs := self.of(ASTGUARD, attack.name):
                late = percentile([run.get("last_after_event_ms", 0.0) for run in runs], share)
                among = "all" if share == 1 else f"{share:.0%}"
                yield (
                    f"{attack.name}: the last packet within {limit:g} ms of the deciding event ({among})",
                    f"{late:.1f} ms, of {len(runs)} attacks",
                    _all_stopped(runs) and late <= limit,
                )
        burnt = self.middle(UNGUARDED, LOAD.name, "asterisk", "cpu_seconds")
        guard = self.middle(ASTGUARD, LOAD.name, "guard", "cpu_seconds")
        if burnt and guard is not None:
            share = f"{guard / burnt:.1%} ({guard:.2f} s of {burnt:.2f} s)"
            yield f"{LOAD.name}: astguard's CPU below 5 % of unguarded Asterisk's", share, guard < MOST_CPU * burnt

    def spread_rows(self):
        """Give the percentiles of astguard's series: what a median hides."""
        for attack in (SVCRACK.name, SVCRACK_FASTEST.name, SATURATING.name):
            runs = [run for run in self.of(ASTGUARD, attack) if run.get("decided")]
            for what, key in _SPREAD:
                values = [run[key] for run in runs if run.get(key) is not None]
                if values:
                    yield [attack, what, len(values), *(f"{percentile(values, at):.2f} ms" for at in _AT)]


_COUNTS = ("until_decided", "arrived_after", "answered_after")
_AT = (0.5, 0.9, 0.99, 1.0)
SPREAD = ["attack", "from the deciding packet to", "attacks", "p50", "p90", "p99", "max"]
_SPREAD = (
    ("Asterisk's event (in whole ms)", "reported_ms"),
    ("the ban in the kernel", "banned_ms"),
    ("the last packet", "last_ms"),
    ("the last packet, from the event on", "last_after_event_ms"),
)


def percentile(values, share):
    """Give the smallest value that so large a share of all does not exceed."""
    ordered = sorted(values)
    return ordered[max(ceil(len(ordered) * share) - 1, 0)]


def promise_rows(report):
    """Set the promises as lines of a table."""
    return [[what, measured, "held" if held else "MISSED"] for what, measured, held in report.promises()]


PROMISES = ["astguard's target", "measured", ""]


def figures(report, *, markdown):
    """Give (heading, table) of all that is shown."""
    yield "What got through", table(RACE, report.race_rows(), markdown=markdown)
    yield "What it cost", table(COST, report.cost_rows(), markdown=markdown)
    yield "astguard's targets", table(PROMISES, promise_rows(report), markdown=markdown)
    yield "Where astguard's time goes", table(SPREAD, report.spread_rows(), markdown=markdown)


def _all_stopped(runs):
    return all(run["decided"] and run["stopped"] for run in runs)


def _dig(run, keys):
    for key in keys:
        run = run.get(key) if run is not None else None
    return run


def _time(milliseconds):
    if milliseconds is None:
        return "-"
    return f"{milliseconds:.1f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"
