"""Checks of channel drivers: what they hide from the events, and which friends can never authenticate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.core.address import covers, parse_network
from guard.core.text import printable
from guard.doctor.finding import Check, Finding, note, warning
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guard.asterisk.telephony import Trunk
    from guard.core.address import Source
    from guard.doctor.facts import Facts

UNREAD_SHOWN = 10


def order(facts: Facts) -> Iterator[Finding]:
    """Find the order in which good phones look unknown at first."""
    if "auth_username" in facts.identify_order:
        text = "PJSIP identifies by 'auth_username', so good phones look unknown before they answer"
        remedy = "nothing to do: such attempts wait 3 s for the phone's success; phones without a password will count"
        yield note("identify-order", text, remedy)


def anonymous(facts: Facts) -> Iterator[Finding]:
    """Find an endpoint through which strangers call without an event."""
    if facts.anonymous:
        text = f"PJSIP has an endpoint for strangers ({facts.anonymous}): their calls raise no security event"
        remedy = (
            "take it out unless the world may call; at least let its context reach no trunk, and keep 'messages' on"
        )
        yield warning("anonymous", text, remedy)


def chan_sip(facts: Facts) -> Iterator[Finding]:
    """Find the driver whose events name any address the sender likes."""
    if facts.chan_sip:
        text = "chan_sip is in use: over AMI its senders choose the address that is reported, so only the log counts"
        yield note("chan-sip", text, "keep the 'messages' log on, or move to chan_pjsip; Asterisk 21 has no chan_sip")


def trunks(facts: Facts) -> Iterator[Finding]:
    """Find trunks that a forger could have closed out."""
    for trunk in facts.trunks:
        if not _is_allowed(facts, trunk):
            text = f"{printable(trunk.peer)} is not on the allowlist: {printable(trunk.what)} ({trunk.place})"
            yield warning(
                "trunks",
                text,
                f"'- {printable(trunk.peer)}' under 'allow' in astguard.yaml: a forger can have it closed out",
            )


def unread(facts: Facts) -> Iterator[Finding]:
    """Tell which parts of Asterisk's configuration could not be looked at."""
    for text in facts.unread[:UNREAD_SHOWN]:
        yield note("asterisk-files", printable(text), "what it says is unknown here, so look at it yourself")


CHECKS = (
    Check("identify-order", "phones are known before they answer", order, "asterisk"),
    Check("anonymous", "no strangers may call", anonymous, "asterisk"),
    Check("chan-sip", "chan_sip is not in use", chan_sip, "asterisk"),
    Check("trunks", "every trunk is on the allowlist", trunks, "asterisk"),
    Check("asterisk-files", "all of Asterisk's files were read", unread, "asterisk"),
)


def _is_allowed(facts: Facts, trunk: Trunk) -> bool:
    if trunk.is_name:
        if any(entry.name == trunk.peer for entry in facts.config.allow_names):
            return True
        addresses = facts.addresses.get(trunk.peer)
        return bool(addresses) and all(_covered(facts, address) for address in addresses or ())
    try:
        return _covered(facts, parse_network(trunk.peer))
    except AddressError:
        return True


def _covered(facts: Facts, source: Source) -> bool:
    return any(covers(allowed, source) for allowed in facts.allowed)
