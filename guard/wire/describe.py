"""Bans, rules and alarms as JSON: the one form in which the API, the command line and replay show them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from guard.core.address import show
from guard.core.text import printable
from guard.core.units import SECOND, Duration, Instant, format_duration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from guard.core.alarm import Alarm
    from guard.core.ban import Ban
    from guard.core.rule import Mode, Rule
    from guard.core.units import Wall

ACCOUNT_LIMIT = 80  # characters
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def describe_ban(ban: Ban, now: Instant, wall: Wall) -> dict[str, object]:
    """Return the contract object of `bans list -o json`; `wall` is what the wall clock says at `now`."""
    return {
        "source": show(ban.source),
        "rule": ban.rule,
        "scope": ban.scope.value,
        "strike": ban.strike,
        "since": show_time(ban.since - now + wall),
        "until": show_time(ban.until - now + wall),
        "left_seconds": max(0, ban.until - now) // SECOND,
        "offences": ban.offences,
        "events": ban.events,
        "evidence": ban.evidence.value,
        "reason": ban.reason,
        "origin": ban.origin,
    }


def describe_replayed(ban: Ban) -> dict[str, object]:
    """Return the contract object of `replay -o json`, where instants are the recording's wall clock."""
    return {
        "source": show(ban.source),
        "rule": ban.rule,
        "at": show_time(ban.since),
        "until": show_time(ban.until),
        "scope": ban.scope.value,
        "strike": ban.strike,
        "offences": ban.offences,
        "events": ban.events,
        "evidence": ban.evidence.value,
        "by": ban.by,
    }


def describe_trace(trace: Mapping[str, object]) -> dict[str, object]:
    """Return the contract object of an event that led to a ban, of a row of the store; its account fit to be shown."""
    at, port = trace.get("at"), trace.get("port")
    return {
        "at": show_time(at) if isinstance(at, int) else None,
        **{key: printable(str(trace.get(key, "")), ACCOUNT_LIMIT) for key in ("kind", "service", "account", "source")},
        "transport": printable(str(trace.get("transport", "")), ACCOUNT_LIMIT),
        "outcome": printable(str(trace.get("outcome", "")), ACCOUNT_LIMIT),
        "port": port if isinstance(port, int) else None,
    }


def describe_rule(rule: Rule, mode: Mode, file: Path) -> dict[str, object]:
    """Return what the API tells of a rule; `mode` is the daemon's, which the stricter of both follows."""
    return {
        "name": rule.name,
        "mode": "observe" if "observe" in (rule.mode, mode) else "enforce",
        "threshold": rule.threshold,
        "window": format_duration(rule.window),
        "ban": [format_duration(rung) for rung in rule.ban],
        "about": rule.about,
        "file": str(file),
        "events": [f"{kind}: {weight}" if weight > 1 else str(kind) for kind, weight in rule.weights.items()],
        "services": sorted(rule.services or ()),
        "sensors": sorted(rule.sensors or ()),
        "accounts": sorted(rule.accounts or ()),
        "acls": sorted(rule.acls or ()),
        "evidence": "proven" if rule.proven_only else "any",
        "distinct": rule.distinct,
        "scope": rule.scope.value,
        "trusted": rule.trusted.value,
        "across": None if rule.across is None else f"{rule.across.sources} sources: {rule.across.threshold}",
        "prefix": [f"/{length}" for _, length in sorted(rule.prefix.items())],
        "forget": format_duration(rule.forget),
    }


def describe_alarm(alarm: Alarm) -> dict[str, object]:
    """Return the contract object of an alarm whose instant is the wall clock's; its account is made fit to be shown."""
    return {
        "kind": str(alarm.kind),
        "at": show_time(alarm.at),
        "source": None if alarm.source is None else show(alarm.source),
        "account": None if alarm.account is None else printable(alarm.account, ACCOUNT_LIMIT),
        "rule": alarm.rule,
        "text": alarm.text,
    }


def show_time(wall: int) -> str:
    """Write a wall clock time in ISO 8601, UTC, to the millisecond."""
    try:
        moment = _EPOCH + timedelta(microseconds=wall // 1000)
    except OverflowError:
        moment = datetime.max.replace(tzinfo=UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def left(ban: Ban, now: Instant) -> Duration:
    """Return how long a ban still lasts."""
    return Duration(max(0, ban.until - now))
