"""The options that choose among bans: by rule, address, scope and time."""

from __future__ import annotations

from datetime import UTC, datetime
from time import time
from typing import TYPE_CHECKING

from guard.cli.options import UsageError
from guard.core.address import overlap, parse_source
from guard.core.units import SECOND, Wall, parse_duration
from guard.errors import AddressError
from guard.wire.history import check_rule

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Mapping

    from guard.core.address import Source

SCOPES = ("all", "sip", "slow")
"""core/rule.py has them too, but takes 10 ms to load, with dataclasses and inspect."""
WHEN = "a time back (2h, 1d) or a local time (2026-05-01, '2026-05-01 14:00')"


def add_choice(parser: argparse.ArgumentParser) -> None:
    """Add the options that bans have in common, of now and of the past."""
    parser.add_argument("--rule", metavar="NAME", default="", help="by this rule; 'manual' for those by hand")
    parser.add_argument("--address", metavar="ADDRESS", help="that share an address with this address or network")
    parser.add_argument("--since", metavar="WHEN", help=f"that began since {WHEN}")


def add_scope(parser: argparse.ArgumentParser) -> None:
    """Add the option for what a ban closes."""
    parser.add_argument("--scope", choices=SCOPES, help="that close everything, the SIP ports, or slow them")


def chosen_source(options: argparse.Namespace) -> Source | None:
    """Read `--address`."""
    return None if options.address is None else parse_source(options.address)


def chosen_rule(options: argparse.Namespace) -> str:
    """Read `--rule`."""
    try:
        return check_rule(options.rule)
    except ValueError as error:
        raise UsageError(f"--rule: {error}") from None


def chosen_time(name: str, given: str | None) -> Wall | None:
    """Read a time option: a duration is so long ago."""
    if given is None:
        return None
    try:
        return Wall(int(time() - parse_duration(given) / SECOND) * SECOND)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(given)
        moment = moment if moment.tzinfo else moment.astimezone()
        return Wall(int(moment.timestamp()) * SECOND)
    except (ValueError, OverflowError):
        raise UsageError(f"{name}: {given!r} is no time; expected {WHEN}") from None


def chooser(options: argparse.Namespace) -> Callable[[Mapping[str, object]], bool]:
    """Make a function that tells whether a ban, as the API has it, is one of those that were chosen."""
    wanted, rule, scope = chosen_source(options), chosen_rule(options), options.scope
    since = chosen_time("--since", options.since)

    def is_chosen(ban: Mapping[str, object]) -> bool:
        return (
            (not rule or ban.get("rule") == rule)
            and (scope is None or ban.get("scope") == scope)
            and (wanted is None or _touches(str(ban.get("source")), wanted))
            and (since is None or _began(str(ban.get("since"))) >= since)
        )

    return is_chosen


def _touches(shown: str, wanted: Source) -> bool:
    try:
        return overlap(parse_source(shown), wanted)
    except AddressError:  # of another version
        return False


def _began(iso: str) -> float:
    try:
        moment = datetime.fromisoformat(iso)
    except ValueError:
        return 0
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * SECOND
