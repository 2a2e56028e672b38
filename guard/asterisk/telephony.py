"""What pjsip.conf, pjsip_wizard.conf, sip.conf and iax.conf say of trunks and of strangers who may call.

A trunk that is known by its address never authenticates, so no success speaks for it, and a forger who writes its
address into UDP packets can have it closed out: it belongs on the allowlist.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from guard.asterisk.conffile import split_list
from guard.core.address import is_special, parse_network, show_short
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.asterisk.conffile import Conf, Entry, Section

TRUNKS_LIMIT = 256
"""Trunks that are told of, of one PBX."""
USUAL_ORDER = ("ip", "username", "anonymous")

_URI = re.compile(r"sips?:(?:[^@]*@)?(\[[0-9A-Fa-f:.]+\]|[^:;>?]+)")
_NAME = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})\.)+[A-Za-z][A-Za-z0-9-]{0,62}\.?")


class Trunk(NamedTuple):
    """A remote PBX or provider: its address, network or name for the allowlist, what it is, and where it stands."""

    peer: str
    what: str
    place: str

    @property
    def is_name(self) -> bool:
        """Tell whether it is a name that has to be looked up."""
        return bool(_NAME.fullmatch(self.peer))


def trunks(pjsip: Conf, wizard: Conf, sip: Conf, iax: Conf) -> list[Trunk]:
    """List the trunks of all channel drivers, each peer once."""
    found: dict[str, Trunk] = {}
    for conf, read in ((pjsip, _pjsip), (wizard, _wizard), (sip, _peers), (iax, _peers)):
        for trunk in read(conf) if not conf.broken else ():
            if len(found) < TRUNKS_LIMIT:
                found.setdefault(trunk.peer, trunk)
    return list(found.values())


def has_anonymous(pjsip: Conf) -> str:
    """Return where an endpoint for strangers stands; empty if there is none."""
    for section in pjsip.named():
        if section.name.lower().partition("@")[0] == "anonymous" and _type(section) == "endpoint":
            return section.place
    return ""


def identify_order(pjsip: Conf) -> tuple[str, ...]:
    """Return in which order PJSIP looks for the endpoint of a request."""
    for section in pjsip.named():
        if _type(section) == "global" and (order := section.get("endpoint_identifier_order")):
            return tuple(word.strip().lower() for word in order.split(",") if word.strip())
    return USUAL_ORDER


def _pjsip(conf: Conf) -> Iterator[Trunk]:
    for section in conf.named():
        kind = _type(section)
        if kind == "identify":
            what = f"PJSIP endpoint {section.get('endpoint', section.name)!r} is known by it"
            yield from _made(split_list(section.all("match")), what)
        elif kind == "registration":
            uri = _URI.match(section.get("server_uri"))
            entry = section.find("server_uri")
            if uri and entry:
                yield from _made([entry._replace(value=uri[1])], f"PJSIP registers there as {section.name!r}")


def _wizard(conf: Conf) -> Iterator[Trunk]:
    for section in conf.named():
        if _type(section) == "wizard":
            yield from _made(split_list(section.all("remote_hosts")), f"remote host of {section.name!r}")


def _peers(conf: Conf) -> Iterator[Trunk]:
    for section in conf.named():
        if section.name.lower() == "general":
            for entry in section.all("register"):
                yield from _made([entry._replace(value=_registrar(entry.value))], f"{conf.path.stem} registers there")
        elif _type(section) in ("peer", "friend", "user"):
            yield from _made(section.all("host"), f"{conf.path.stem} peer {section.name!r}")


def _registrar(value: str) -> str:
    """Read the host of `[transport://]user[:secret[:authuser]]@host[:port][/extension]`."""
    return value.rpartition("@")[2].partition("/")[0] if "@" in value else ""


def _made(entries: Iterable[Entry], what: str) -> Iterator[Trunk]:
    for entry in entries:
        peer = _peer(entry.value)
        if peer:
            yield Trunk(peer, what, entry.place)


def _peer(text: str) -> str:
    """Write an address, a network or a name as the allowlist takes it; empty for what can be no trunk elsewhere."""
    bare = text.strip().removeprefix("!")
    if bare.startswith("["):
        bare = bare[1:].partition("]")[0]
    elif bare.count(":") == 1:
        bare = bare.partition(":")[0]
    try:
        source = parse_network(bare)
    except AddressError:
        return bare.rstrip(".").lower() if _NAME.fullmatch(bare) and bare.lower() != "dynamic" else ""
    return "" if is_special(source) or source[1] == 0 else show_short(source)


def _type(section: Section) -> str:
    return section.get("type").lower()
