"""What is known of a source as JSON: the form in which the API and `astguard explain` tell it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.text import printable
from guard.core.units import MILLISECOND, SECOND
from guard.wire.describe import ACCOUNT_LIMIT

if TYPE_CHECKING:
    from guard.core.ban import Ban
    from guard.core.explain import Explanation, Next, Standing
    from guard.core.trail import Trace
    from guard.core.units import Instant, Wall


def describe_explanation(known: Explanation, now: Instant) -> dict[str, object]:
    """Return what the core tells of a source; accounts, which strangers write, are made fit to be shown."""
    return {
        "site": show(known.site),
        "events": known.events,
        "held_seconds": [_seconds(due - now) for due in known.held],
        "trust": round(known.factor, 2),
        "trusted": [
            {"account": printable(account, ACCOUNT_LIMIT), "ago_seconds": _seconds(now - at)}
            for account, at in sorted(known.trusted.items(), key=lambda item: -item[1])
        ],
        "failing": [
            {
                "account": printable(account, ACCOUNT_LIMIT), "answers": failures.answers,
                "sessions": failures.sessions, "a_minute": failures.pace, "ago_seconds": _seconds(now - failures.last),
            }
            for account, failures in sorted(known.failing.items(), key=lambda item: -item[1].last)
        ],
        "rules": [_standing(standing, now) for standing in known.standings],
    }  # fmt: skip


def describe_delay(ban: Ban, confirmed: Wall | None, now: Instant, wall: Wall) -> dict[str, object]:
    """Return how long a ban took until the kernel had it, in milliseconds; null where nobody measured it.

    From when the deciding event happened by Asterisk's clock, and from when it was read.
    """
    if confirmed is None or ban.at is None:
        return {"heard_to_kernel_ms": None, "read_to_kernel_ms": None, "by": ban.by}
    taken = confirmed - wall + now
    return {
        "heard_to_kernel_ms": _milliseconds(taken - ban.at),
        "read_to_kernel_ms": _milliseconds(taken - ban.since),
        "by": ban.by,
    }


def trace_row(trace: Trace) -> dict[str, object]:
    """Return an event as the store would give it back, for `describe_trace`."""
    return {
        "at": trace.at, "kind": trace.kind, "service": trace.service, "account": trace.account,
        "source": show(trace.source), "transport": trace.transport, "port": trace.local_port,
        "outcome": trace.outcome,
    }  # fmt: skip


def _standing(standing: Standing, now: Instant) -> dict[str, object]:
    rule = standing.rule
    return {
        "name": rule.name,
        "mode": "observe" if standing.observes else "enforce",
        "source": show(standing.source),
        "counts": [str(kind) for kind in rule.weights],
        "offences": standing.offences,
        "proven": standing.proven,
        "threshold": rule.threshold,
        "needed": standing.needed,
        "window_seconds": _seconds(rule.window),
        "leaves_seconds": _seconds(standing.leaves - now),
        "next": None if standing.next is None else _next(standing.next),
    }


def _next(following: Next) -> dict[str, object]:
    return {
        "missing": following.missing,
        "evidence": following.evidence.value,
        "scope": None if following.scope is None else following.scope.value,
        "alarm": None if following.alarm is None else str(following.alarm),
        "crowd": following.crowd,
        "strike": following.strike,
        "ban_seconds": None if following.scope is None else _seconds(following.length),
    }


def _seconds(span: int) -> int:
    return max(0, span) // SECOND


def _milliseconds(span: int) -> float:
    return round(max(0, span) / MILLISECOND, 2)
