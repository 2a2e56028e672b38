"""`astguard explain`: all that is known of one address, and what would follow next."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any

from guard.cli.client import ask
from guard.cli.options import WIDTH, add_command
from guard.cli.output import BOLD, GREEN, RED, YELLOW, Output, paint
from guard.cli.table import Reader, as_text, local_time, short_source, since, source, span, text
from guard.core.address import parse_source
from guard.wire.control import Call, Request

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Mapping

    from guard.cli.options import Commands

ACCOUNT_WIDTH = 18
NAMED = 4
"""Accounts that are named; the rest are counted."""
HEAD = len("authenticated")

SCOPES = {"all": "everything closed", "sip": "SIP ports closed", "slow": "SIP ports slowed"}
_NOUNS = {
    "ChallengeResponseFailed": "wrong password", "InvalidPassword": "wrong password",
    "InvalidAccountID": "request for an unknown account", "ChallengeSent": "challenge without an answer",
    "FailedACL": "request that an ACL refuses", "UnknownExtension": "call to a missing extension",
}  # fmt: skip

TRAIL = (
    ("AT", since("at")), ("EVENT", text("kind")), ("ACCOUNT", Reader("account", lambda v: as_text(v, ACCOUNT_WIDTH))),
    ("BY", text("transport")), ("PORT", text("port")), ("CAME TO", text("outcome")),
)  # fmt: skip
RULES = (
    ("RULE", text("name")),
    ("OFFENCES", lambda item: f"{as_text(item.get('offences'))} of {as_text(item.get('needed'))}"),
    ("PROVEN", text("proven")), ("WINDOW", Reader("window_seconds", span)),
    ("OLDEST LEAVES", lambda item: f"in {span(item.get('leaves_seconds'))}"),
)  # fmt: skip


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Tell all that is known of an address: its last events and what came of each, what they count under which "
        "rule, who has authenticated from there, former bans, and what would follow next. Of a ban it tells what led "
        "to it and how long it took. An address that nobody has heard of is no mistake: the exit code is 0."
    )
    parser = add_command(
        commands, "explain", _explain, about, "explain 198.51.100.7", "explain 2001:db8:5::/64 -o json"
    )
    parser.add_argument("address", metavar="ADDRESS")


def _explain(options: Namespace) -> int:
    answer = ask(options, Request(Call.EXPLAIN, parse_source(options.address)))
    output = Output(options)
    if output.for_programs:
        output.data(answer)
        return 0
    for line in page(answer):
        print(line)
    rules, trail = _items(answer, "rules"), _items(answer, "trail")
    if rules:
        print()
        output.list(RULES, rules, "")
    if trail:
        print()
        several = len({trace.get("source") for trace in trail}) > 1
        output.list((*TRAIL[:3], ("FROM", source()), *TRAIL[3:]) if several else TRAIL, trail, "")
    for line in following(answer):
        print(line)
    return 0


def page(known: Mapping[str, Any]) -> Iterator[str]:
    """Write what is known, but for the tables."""
    name, site = _short(known, "source"), _short(known, "site")
    yield from _line("source", name + (f", judged as {site}" if site != name else ""))
    yield from _state(known)
    events = known.get("events") or 0
    if not known.get("known"):
        yield from _line("events", "none: nothing is known of it, and nothing counts against it")
        return
    held = known.get("held_seconds") or []
    many = "1 attempt is held and counts" if len(held) == 1 else f"{len(held)} attempts are held and count"
    waiting = f"; {many} within {span(max(held) + 1)}" if held else ""
    yield from _line("events", f"{events:,} read{waiting}")
    if trusted := _items(known, "trusted"):
        yield from _line("authenticated", _named(trusted, lambda item: f"{span(item.get('ago_seconds'))} ago"))
        yield from _line("trust", f"thresholds are {as_text(known.get('trust'))} times as high here")
    if failing := _items(known, "failing"):
        yield from _line("failing at", _named(failing, _failed))
    for strike in _items(known, "strikes"):
        bans = f"{as_text(strike.get('strikes'))} on {as_text(strike.get('evidence'))} evidence"
        until = local_time(as_text(strike.get("until")))
        yield from _line("strikes", f"{bans}, the last until {until} ({_short(strike, 'source')})")


def following(known: Mapping[str, Any]) -> Iterator[str]:
    """Say what would follow next, a paragraph for each rule, the nearest first."""
    if known.get("special") or known.get("allowed"):
        yield ""
        yield from _line("next", "nothing, whatever it does: it is never banned")
        return
    said = [(rule, rule["next"]) for rule in _items(known, "rules") if isinstance(rule.get("next"), dict)]
    if said:
        yield ""
    for rule, coming in sorted(said, key=lambda pair: pair[1].get("missing") or 0):
        yield from _line("next", _next(rule, coming))


def _state(known: Mapping[str, Any]) -> Iterator[str]:
    allowed, ban, observed = (known.get(key) for key in ("allowed", "ban", "observed"))
    if isinstance(allowed, dict):
        by = f"{_short(allowed, 'by')} ({as_text(allowed.get('origin'))})"
        yield from _line("allowed", f"never banned: on the allowlist by {by}", GREEN)
    elif known.get("special"):
        yield from _line("special", "no remote party: loopback, multicast or reserved, never banned", GREEN)
    else:
        yield from _line("allowed", "no")
    if isinstance(ban, dict):
        yield from _line("banned", _ban(ban), RED)
        yield from _line("", f"{as_text(ban.get('offences'))} offences, evidence {as_text(ban.get('evidence'))}")
        yield from _line("to the kernel", _delay(ban))
    else:
        yield from _line("banned", "no")
    if isinstance(observed, dict):
        yield from _line("observed", f"would be banned, if not for mode observe: {_ban(observed)}", YELLOW)


def _ban(ban: Mapping[str, Any]) -> str:
    of = _short(ban, "source")
    scope = SCOPES.get(as_text(ban.get("scope")), as_text(ban.get("scope")))
    until = f"until {local_time(as_text(ban.get('until')))}, {span(ban.get('left_seconds'))} left"
    return f"{of} by {as_text(ban.get('rule'))}, {scope}, {until}, strike {as_text(ban.get('strike'))}"


def _delay(ban: Mapping[str, Any]) -> str:
    if ban.get("read_to_kernel_ms") is None:
        return "not measured: by hand, or from before the last start"
    heard = as_text(ban.get("heard_to_kernel_ms"))
    return f"{as_text(ban['read_to_kernel_ms'])} ms after the event was read, {heard} ms after it happened"


def _next(rule: Mapping[str, Any], coming: Mapping[str, Any]) -> str:
    missing = coming.get("missing") or 1
    kinds = rule.get("counts") or []
    nouns = {_NOUNS.get(str(kind), "offence") for kind in kinds}
    noun = nouns.pop() if len(nouns) == 1 else "offence"
    more = f"{missing} more {noun if missing == 1 else _plural(noun)} within {span(rule.get('leaves_seconds'))}"
    done = "an alarm, no ban"
    if coming.get("scope") is not None:
        scope = SCOPES.get(as_text(coming["scope"]), "")
        alarm = " and an alarm" if coming.get("alarm") else ""
        done = f"ban for {span(coming.get('ban_seconds'))}{alarm}, {scope}"
        done += f" (strike {as_text(coming.get('strike'))}, evidence {as_text(coming.get('evidence'))})"
    why = "; many sources guess at the same account, so fewer are enough" if coming.get("crowd") else ""
    only = "; it observes, so that is only said" if rule.get("mode") == "observe" else ""
    return f"{more}: {done} by {as_text(rule.get('name'))}{why}{only}"


def _plural(noun: str) -> str:
    first, gap, rest = noun.partition(" ")
    if first in ("request", "challenge", "call"):
        return f"{first}s{gap}{rest}"
    return f"{noun}s"


def _failed(item: Mapping[str, Any]) -> str:
    sessions = "1 session" if item.get("sessions") == 1 else f"{as_text(item.get('sessions'))} sessions"
    answers = f"{as_text(item.get('answers'))} in {sessions}"
    return f"{answers}, {as_text(item.get('a_minute'))} a minute, last {span(item.get('ago_seconds'))} ago"


def _named(items: list[dict[str, Any]], about: Callable[[Mapping[str, Any]], str]) -> str:
    shown = [f"{as_text(item.get('account'), ACCOUNT_WIDTH)} ({about(item)})" for item in items[:NAMED]]
    more = [f"{len(items) - NAMED} more"] if len(items) > NAMED else []
    return "; ".join(shown + more)


def _line(name: str, value: str, colour: str = "") -> Iterator[str]:
    head = paint(name.ljust(HEAD), BOLD)
    for number, line in enumerate(wrap(value, WIDTH - HEAD - 2, break_on_hyphens=False)):
        yield f"{head if number == 0 else ' ' * HEAD}  {paint(line, colour) if colour else line}"


def _items(known: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    found = known.get(key)
    return [item for item in found if isinstance(item, dict)] if isinstance(found, list) else []


def _short(item: Mapping[str, Any], key: str) -> str:
    return short_source(as_text(item.get(key)))
