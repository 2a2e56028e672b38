"""Checks of the daemon: does it run, does it hear Asterisk, does it ban."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guard.core.rule import Mode
from guard.core.text import printable
from guard.doctor.finding import Check, Finding, note, serious, warning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guard.doctor.facts import Facts

LATE, TOO_LATE = 2_000, 30_000
"""Milliseconds that events may be old: beyond the first something is wrong, beyond the second short windows are."""
TEXT_LIMIT = 600


def configuration(facts: Facts) -> Iterator[Finding]:
    """Find a configuration that cannot be read."""
    if facts.config_problem:
        yield serious(
            "configuration",
            facts.config_problem,
            "'astguard check' names every mistake; 'astguard setup' makes the file",
        )


def running(facts: Facts) -> Iterator[Finding]:
    """Find a daemon that does not run."""
    if facts.status is None:
        yield serious(
            "running", f"nothing guards Asterisk: {facts.no_status}", "systemctl start astguard, or 'astguard run'"
        )


def mode(facts: Facts) -> Iterator[Finding]:
    """Find a guard that only watches."""
    if facts.status is None and facts.config_problem:
        yield _not_running("mode")
    elif (facts.status or {}).get("mode", facts.config.mode) == Mode.OBSERVE:
        yield note(
            "mode",
            "mode observe: bans are said, not made",
            "content with what it says? write 'mode: enforce', then 'astguard reload'",
        )


def self_test(facts: Facts) -> Iterator[Finding]:
    """Find a path from Asterisk to here that does not carry events."""
    name, remedy = (
        "self-test",
        "attacks are not seen until this is mended; 'read = security' and the AMI user are below",
    )
    if facts.status is None:
        if facts.not_heard:
            yield serious(name, facts.not_heard, remedy)
        elif facts.heard is None:
            yield _not_running(name)
        elif not facts.heard.own_login:
            yield serious(name, "logged in, but no security event came back", remedy)
        return
    link = _part(facts.status, "link")
    if link.get("state") != "up":
        why = next(
            (text for text in _warnings(facts.status) if text.startswith("link:")), f"the link is {link.get('state')}"
        )
        yield serious(name, printable(why, TEXT_LIMIT), remedy)
    elif link.get("self_test") == "failed":
        yield serious(name, "the daemon's own login did not come back as a security event", remedy)
    elif link.get("self_test") != "ok":
        yield note(
            name, "the daemon has only just logged in, its own event has not come yet", "ask again in five seconds"
        )


def clock(facts: Facts) -> Iterator[Finding]:
    """Find clocks that differ, or events that come late."""
    name, remedy = (
        "clock",
        "set the clocks of this host and of Asterisk's (timedatectl set-ntp true); a backlog passes by itself",
    )
    late = _part(facts.status or {}, "link").get("lag_ms")
    ahead = facts.heard.ahead_ms if facts.heard else None
    if facts.status is None and ahead is None:
        yield _not_running(name)
    elif isinstance(late, int) and late > LATE:
        found = serious if late > TOO_LATE else warning
        yield found(name, f"events are {late / 1000:.1f} s old when they are read", remedy)
    elif ahead is not None and abs(ahead) > LATE:
        found = serious if abs(ahead) > TOO_LATE else warning
        which = "ahead of" if ahead > 0 else "behind"
        yield found(name, f"Asterisk's clock is {abs(ahead) / 1000:.1f} s {which} this host's", remedy)


def told(facts: Facts) -> Iterator[Finding]:
    """Pass on what the daemon itself warns of, other than its link and what other checks look at here."""
    if facts.status is None:
        yield _not_running("daemon")
    for item in (facts.status or {}).get("warnings") or ():
        text, remedy = (printable(str(item.get(key) or ""), TEXT_LIMIT) for key in ("text", "remedy"))
        if not text.startswith(("link:", "asterisk:")):
            yield warning("daemon", text, remedy)


CHECKS = (
    Check("configuration", "the configuration has no mistakes", configuration),
    Check("running", "astguard is running", running),
    Check("mode", "bans are made", mode),
    Check("self-test", "security events come through", self_test),
    Check("clock", "events are fresh, and no clock is wrong", clock),
    Check("daemon", "the daemon warns of nothing else", told),
)


def _not_running(name: str) -> Finding:
    return note(name, f"{name}: not known, astguard is not running")


def _part(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    part = status.get(key)
    return part if isinstance(part, dict) else {}


def _warnings(status: Mapping[str, Any]) -> Iterator[str]:
    return (str(item.get("text") or "") for item in status.get("warnings") or () if isinstance(item, dict))
