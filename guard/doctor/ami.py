"""Checks of AMI: who reaches it, what astguard's user may do and hears there, and whether anybody can forge events."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.asterisk.manager import open_web
from guard.core.address import show_short
from guard.doctor.finding import Check, Finding, note, serious, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.asterisk.manager import User
    from guard.doctor.facts import Facts

ENOUGH = 5_000
"""Milliseconds of `writetimeout` that outlast a busy moment (docs/asterisk.md)."""
RELOAD = "then 'asterisk -rx \"manager reload\"'"
SHOWN = 5


def manager(facts: Facts) -> Iterator[Finding]:
    """Find AMI switched off, or a manager.conf that Asterisk refuses."""
    if facts.manager_problem:
        yield serious("manager", facts.manager_problem, f"mend manager.conf, {RELOAD}")
    elif not facts.manager.enabled:
        yield serious(
            "manager",
            "AMI is off in manager.conf",
            f"'enabled = yes' in its [general], {RELOAD}; 'astguard setup' does it",
        )


def user(facts: Facts) -> Iterator[Finding]:
    """Find that there is no user for astguard."""
    name = facts.config.ami.username
    if not facts.manager_problem and facts.manager.user(name) is None:
        yield serious(
            "ami-user", f"manager.conf has no user [{name}]", "'astguard setup' makes it, with the least rights"
        )


def hears(facts: Facts) -> Iterator[Finding]:
    """Find a user that no security event is sent to."""
    for own in _own(facts):
        if not own.hears_security:
            text = f"AMI user [{own.name}] has no 'read = security': it logs in and hears nothing ({own.place})"
            yield serious("read-security", text, f"'read = security' in its section, {RELOAD}")


def rights(facts: Facts) -> Iterator[Finding]:
    """Find rights that only the thief of the secret would use."""
    for own in _own(facts):
        if own.write:
            text = f"AMI user [{own.name}] may give commands: write = {', '.join(sorted(own.write))} ({own.place})"
            yield serious("ami-rights", text, f"'write =' with nothing behind it, {RELOAD}; astguard only listens")
        if own.read - {"security"}:
            text = f"AMI user [{own.name}] hears more than it needs: read = {', '.join(sorted(own.read))} ({own.place})"
            yield warning("ami-rights", text, f"'read = security' alone, {RELOAD}")


def timeout(facts: Facts) -> Iterator[Finding]:
    """Find a user that is cut off when this host is busy."""
    for own in _own(facts):
        if own.write_timeout < ENOUGH:
            text = f"AMI user [{own.name}] is cut off after a stall of {own.write_timeout} ms ({own.place})"
            yield warning("writetimeout", text, f"'writetimeout = {ENOUGH}' in its section, {RELOAD}")


def filters(facts: Facts) -> Iterator[Finding]:
    """Find filters: a legacy one looks at the whole event, so whoever sends the event can hide it."""
    for own in _own(facts):
        for text in own.filters:
            legacy = "(" not in text.partition("=")[0]
            found, why = (
                (serious, "a remote party can hide events by it")
                if legacy
                else (warning, "what is filtered out cannot be counted")
            )
            yield found(
                "eventfilter", f"AMI user [{own.name}] has '{text}': {why} ({own.place})", f"take it out, {RELOAD}"
            )


def outside(facts: Facts) -> Iterator[Finding]:
    """Find AMI reachable from other hosts."""
    doors = [listener for listener in facts.manager.listeners if not listener.is_loopback]
    if not doors:
        return
    where = f"{', '.join(map(str, doors))} is reachable from other hosts ({doors[0].place})"
    remedy = f"'bindaddr = 127.0.0.1' in [general] of manager.conf, {RELOAD}; 'astguard setup' offers it"
    # A second `deny` is needed for IPv6, but only where AMI is heard over it.
    six = any(":" in door.address for door in doors)
    open_users = [one for one in facts.manager.users if any(six or host[0] == 4 for host in one.strangers())]
    if open_users:
        named = ", ".join(_open(one, six=six) for one in open_users[:SHOWN])
        more = f" and {len(open_users) - SHOWN} more" if len(open_users) > SHOWN else ""
        yield serious(
            "ami-outside", f"{where}, and may be logged in to from elsewhere as {named}{more}",
            f"{remedy}; else give each user 'deny' for all and 'permit' for whom it needs, over IPv6 (::/0) too",
        )  # fmt: skip
    else:
        yield warning("ami-outside", f"{where}; permit and deny keep strangers from logging in", remedy)


def web(facts: Facts) -> Iterator[Finding]:
    """Find AMI over HTTP open to strangers, who can forge whole events through it."""
    doors = open_web(facts.manager, facts.http)
    if doors:
        text = (
            f"AMI over HTTP is on, and {', '.join(map(str, doors))} is reachable from other hosts: events can be forged"
        )
        yield serious(
            "ami-http",
            text,
            "'webenabled = no' in manager.conf, or 'bindaddr = 127.0.0.1' in http.conf, then reload both",
        )
    elif facts.manager.enabled and facts.manager.web and facts.http:
        yield note(
            "ami-http",
            "AMI over HTTP is on, for this host alone",
            "'webenabled = no' in manager.conf if nothing needs it",
        )


CHECKS = (
    Check("manager", "AMI is on", manager, "asterisk"),
    Check("ami-user", "AMI has a user for astguard", user, "manager"),
    Check("read-security", "it hears security events", hears, "ami-user"),
    Check("ami-rights", "it may do nothing else", rights, "ami-user"),
    Check("writetimeout", "it outlasts a busy moment", timeout, "ami-user"),
    Check("eventfilter", "nothing is filtered", filters, "ami-user"),
    Check("ami-outside", "AMI is for this host alone", outside, "manager"),
    Check("ami-http", "AMI over HTTP is closed", web, "manager"),
)


def _own(facts: Facts) -> Iterator[User]:
    own = facts.manager.user(facts.config.ami.username)
    if own is not None:
        yield own


def _open(one: User, *, six: bool) -> str:
    hosts = [host for host in one.strangers() if six or host[0] == 4]
    return f"[{one.name}] (from {show_short(hosts[0])}, say)"
