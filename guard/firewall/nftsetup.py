"""What setup() sends, given what already stands: one transaction that makes all of it and keeps the bans.

Allow sets and ports are made anew each time. Ban sets keep their elements; those made on demand go once they are known
to be empty, because each costs every packet a lookup. What bears one of our names but is of another shape is nobody's
to guess: it is named, and nothing is touched.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple, cast

from guard.core.address import family, length
from guard.core.rule import Scope
from guard.errors import FirewallError, FirewallUnavailable
from guard.firewall import SLACK
from guard.firewall import nftopology as topology
from guard.firewall.nfsocket import refused
from guard.firewall.nftcodec import ChainMessage, SetMessage, TableMessage, decode
from guard.firewall.nftlisting import parts_of
from guard.firewall.nftlook import foreign_rule
from guard.firewall.nftopology import ALLOW, CHAIN, HOST_SETS, SIP_PORTS, TABLE, SetKey, parse_name
from guard.firewall.plan import SCOPES, check_source
from guard.wire.nfnetlink import CREATE, Kind, attributes

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from guard.core.address import Source
    from guard.firewall import Layout
    from guard.firewall.nfsocket import NetlinkSocket, Refusal
    from guard.wire.nfnetlink import Message

_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}

_ORDER = (ALLOW, *SCOPES)  # of the rules in the chain


class Built(NamedTuple):
    """The transaction, the ban sets that exist once it is through, and which of them were there before."""

    messages: Sequence[Message]
    ban_sets: Sequence[SetKey]
    found: frozenset[SetKey]


def build(
    kernel: NetlinkSocket, layout: Layout, *, more: Collection[SetKey], unused: Collection[SetKey], ours: bool
) -> Built:
    """Look at what stands and write the transaction; FirewallError if something of our name is not ours.

    `more` are ban sets to be made besides; those in `unused` are known to be empty. Once the chain is `ours`, a rule
    that somebody put into it goes.
    """
    allow = allow_sets(layout.allow)
    found = _survey(kernel, ours=ours)
    bans = {key: attrs for name, attrs in found.items() if (key := parse_name(name)) and key.purpose != ALLOW}
    wanted = [*HOST_SETS, *sorted({*bans, *more}.difference(HOST_SETS, set(unused).difference(more)))]
    # The rate belongs to the set and cannot be changed, so with another rate the elements move to a new set.
    moving = [key for key, attrs in bans.items() if key.purpose == Scope.SLOW and _rate(attrs) != layout.slow_rate]

    messages = [topology.new_table(), topology.new_chain(), topology.flush_chain()]
    for name in found:
        key = parse_name(name)
        if key not in wanted or key in moving:
            messages.append(topology.drop_set(name))
    messages += [topology.new_counter(scope) for scope in SCOPES]
    messages += topology.new_ports(1, layout.sip_ports)
    for number, key in enumerate([*allow, *wanted], 2):
        size = 0 if key.purpose == ALLOW else layout.set_size + SLACK
        messages.append(topology.new_set(key, number, size, layout.slow_rate))
    for key, sources in allow.items():
        writer = key.writer()
        messages += writer.messages(Kind.NEW_ELEMENT, CREATE, writer.bare(source[2:] for source in sources))
    for key in set(moving).intersection(wanted):
        writer = key.writer()
        kept = [pair for part in parts_of(kernel, key) for pair in part.items() if pair[1] is not None]
        messages += writer.messages(Kind.NEW_ELEMENT, CREATE, writer.timed(cast("list[tuple[bytes, int]]", kept)))
    messages += _rules([*allow, *wanted])
    return Built(messages, wanted, frozenset(bans))


def without(kernel: NetlinkSocket, unused: Collection[SetKey]) -> list[Message]:
    """Write the transaction that removes these sets, and leaves everything else as it stands."""
    names = [str(decode(SetMessage, body)["NAME"]) for body in kernel.ask(topology.ask_sets())]
    keys = [key for key in map(parse_name, names) if key is not None]
    kept = sorted((key for key in keys if key not in unused), key=lambda key: (_ORDER.index(key.purpose), key))
    dropped = [topology.drop_set(key.name) for key in keys if key in unused]
    return [topology.flush_chain(), *_rules(kept), *dropped]


def _rules(keys: Iterable[SetKey]) -> list[Message]:
    return [*topology.first_rules(), *map(topology.set_rule, keys)]


def setup_refused(refusal: Refusal, messages: Sequence[Message]) -> FirewallError:
    """Say why the kernel refused the transaction, and at what."""
    kind, body = (messages[refusal.message].kind, messages[refusal.message].body) if refusal.message >= 0 else (-1, b"")
    names = [value.rstrip(b"\0").decode() for number, value in attributes(body, 4) if number in (2, 3)]
    what = f"{Kind(kind).name.lower().replace('_', ' ')} {names[0] if names else ''}".rstrip() if body else "the batch"
    if refusal.errno == errno.ENOENT and kind in (Kind.NEW_CHAIN, Kind.NEW_RULE, Kind.NEW_SET, Kind.NEW_OBJECT):
        # The kernel loads the module of a chain type, expression or object by itself, and says this if there is none.
        return FirewallUnavailable(
            f"this kernel lacks a part of nf_tables, at {what}: load the modules nft_objref and nft_limit, "
            "or take a kernel that has them"
        )
    return refused(refusal.errno, f"the kernel refused to set up table inet {TABLE}, at {what}; nothing was changed")


def allow_sets(allow: Iterable[Source]) -> dict[SetKey, list[Source]]:
    """Sort networks by the sets they belong to; FirewallError on a source that is no network."""
    sets: dict[SetKey, list[Source]] = {}
    for source in allow:
        check_source(source)
        sets.setdefault(SetKey(ALLOW, family(source), length(source)), []).append(source)
    return sets


def _survey(kernel: NetlinkSocket, *, ours: bool) -> dict[str, Mapping[str, object]]:
    """List the sets that bear a name of ours; FirewallError if one of them, or the chain, is of another shape."""
    for body in kernel.ask(topology.ask_table()):
        table = decode(TableMessage, body)
        flags = cast("int", table.get("FLAGS", 0))
        if flags & topology.OWNED:
            raise FirewallError(
                f"table inet {TABLE} belongs to another program alone (flag owner, netlink port {table.get('OWNER')}, "
                "mostly its pid); stop that program"
            )
        if flags & topology.DORMANT:
            # Somebody switched it off. It cannot be woken and given a chain in one transaction (nf_tables_addchain).
            raise FirewallError(
                f"table inet {TABLE} is dormant; wake it with `nft add table inet {TABLE}`, or delete it"
            )
    for body in kernel.ask(topology.ask_chain()):
        chain = decode(ChainMessage, body)
        if any(chain.get(name) != value for name, value in topology.CHAIN_SHAPE.items()):
            raise _conflict(f"chain {CHAIN}", _show_chain(chain), _show_chain(topology.CHAIN_SHAPE))
    rule = None if ours else foreign_rule(kernel)
    if rule is not None:
        raise FirewallError(
            f"chain {CHAIN} in table inet {TABLE} has a rule by somebody else; nothing was changed. See it with "
            f"`nft -a list chain inet {TABLE} {CHAIN}`, remove it with `nft delete rule inet {TABLE} {CHAIN} "
            f"handle {rule}`; rules of your own belong in a table of your own"
        )
    found = {}
    for body in kernel.ask(topology.ask_sets()):
        attrs = decode(SetMessage, body)
        name = str(attrs["NAME"])
        key = parse_name(name)
        if key is None and name != SIP_PORTS:
            continue
        shape = {**(key.shape if key is not None else topology.PORTS_SHAPE)}
        shape["LIMIT"] = key is not None and key.purpose == Scope.SLOW
        seen = {field: attrs.get(field, 0) for field in shape}  # no flags, no attribute
        seen["LIMIT"] = "EXPRESSION" in attrs
        if seen != shape:
            raise _conflict(f"set {name}", _show_set(seen), _show_set(shape))
        found[name] = attrs
    return found


def _conflict(what: str, seen: str, expected: str) -> FirewallError:
    return FirewallError(
        f"{what} in table inet {TABLE} is {seen}, expected {expected}: it is not ours; nothing was changed, "
        f"rename it, or remove the table with `nft delete table inet {TABLE}`"
    )


def _show_chain(chain: Mapping[str, object]) -> str:
    hook = cast("Mapping[str, int] | None", chain.get("HOOK"))
    if hook is None:
        return "a chain without a hook"
    priority = (hook["PRIORITY"] ^ 1 << 31) - (1 << 31)  # a signed number in an unsigned attribute
    return f"type {chain.get('TYPE')} hook {_HOOKS.get(hook['NUMBER'], hook['NUMBER'])} priority {priority}"


def _show_set(shape: Mapping[str, object]) -> str:
    limit = " with a limit" if shape["LIMIT"] else ""
    return f"of key type {shape['KEY_TYPE']}, key length {shape['KEY_LEN']}, flags {shape['FLAGS']}{limit}"


def _rate(attrs: Mapping[str, object]) -> int:
    expression = cast("Mapping[str, Mapping[str, int]]", attrs["EXPRESSION"])
    return expression["limit"]["RATE"]
