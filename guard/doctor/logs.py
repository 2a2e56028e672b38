"""Checks of Asterisk's logs: what AMI does not tell stands there, if it is written, readable and has its times."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.asterisk.loggerconf import has_seconds
from guard.core.address import show_short
from guard.core.text import printable
from guard.doctor.finding import Check, Finding, note, warning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.doctor.facts import Facts

MANY_EVENTS, MANY_ACCOUNTS = 50, 5
"""So many events about so many accounts from one single host are no single phone."""
RELOAD = "then 'asterisk -rx \"logger reload\"'; 'astguard setup' does both"


def messages(facts: Facts) -> Iterator[Finding]:
    """Find that nothing is read of what the message bus loses."""
    if facts.messages:
        return
    why = "; ".join(facts.logs.notes) or "'logs.messages: no' in astguard.yaml"
    text = f"no 'messages' log is read, so chan_sip, IAX2 and what hides from AMI are not seen: {why}"
    yield warning(
        "messages-log", text, f"'messages.log => notice,warning,error' under [logfiles] of logger.conf, {RELOAD}"
    )


def noise(facts: Facts) -> Iterator[Finding]:
    """Find logs that are read although they hold more than they should, or are of a form that is not read."""
    if facts.messages:
        for text in facts.logs.notes:
            yield note("log-noise", text, f"a file of its own for notices under [logfiles] of logger.conf, {RELOAD}")


def security(facts: Facts) -> Iterator[Finding]:
    """Find that a lost link leaves a gap."""
    if facts.logs.security is None and not facts.config.logs.security:
        text = "no 'security' log is written, so what happens while the link is down is not seen"
        yield note("security-log", text, f"'security.log => security' under [logfiles] of logger.conf, {RELOAD}")


def readable(facts: Facts) -> Iterator[Finding]:
    """Find logs that astguard's user cannot open."""
    for path, why in facts.unreadable.items():
        remedy = (
            "'usermod -aG asterisk astguard', then restart astguard"
            if facts.missing_group
            else (f"let {facts.account.name} read it, by a group for instance, and restart astguard")
        )
        yield warning("log-readable", f"{path} cannot be read: {printable(why)}", remedy)


def dates(facts: Facts) -> Iterator[Finding]:
    """Find times that are too coarse to count in windows of minutes."""
    if not has_seconds(facts.date_format):
        text = f"the logs' times have no seconds: dateformat = {printable(facts.date_format, 60)}"
        yield warning("dateformat", text, f"'dateformat = %F %T.%3q' in [general] of logger.conf, {RELOAD}")


def one_sender(facts: Facts) -> Iterator[Finding]:
    """Find that everybody seems to have one address."""
    senders = facts.senders
    if senders.hosts == 1 and senders.host and senders.events >= MANY_EVENTS and senders.accounts >= MANY_ACCOUNTS:
        text = (
            f"all {senders.events} events in the logs, about {senders.accounts} accounts, are of "
            f"{show_short(senders.host)}: a proxy that hides the callers' addresses?"
        )
        remedy = "a ban would cut everybody off: allow that address, and guard in front of the proxy"
        yield warning("one-sender", text, remedy)


CHECKS = (
    Check("messages-log", "a 'messages' log is read", messages, "asterisk"),
    Check("log-noise", "it holds nothing else", noise, "asterisk"),
    Check("security-log", "a 'security' log fills the gaps of the link", security, "asterisk"),
    Check("log-readable", "the logs can be read", readable, "asterisk"),
    Check("dateformat", "their times have seconds", dates, "asterisk"),
    Check("one-sender", "callers have addresses of their own", one_sender, "asterisk"),
)
