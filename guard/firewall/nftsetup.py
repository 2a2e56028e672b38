"""What setup() sends, given what already stands: one transaction that makes all of it and keeps the bans.

Allow sets and ports are made anew each time. Ban sets keep their elements; those made on demand go once they are empty,
because each costs every packet a lookup. What bears one of our names but is of another shape is nobody's to guess: it
is named, and nothing is touched.
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
from guard.firewall.nftopology import ALLOW, CHAIN, HOST_SETS, SIP_PORTS, TABLE, SetKey, parse_name
from guard.firewall.plan import SCOPES, check_source
from guard.wire.nfnetlink import CREATE, Kind, attributes, elements

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from guard.core.address import Source
    from guard.firewall import Layout
    from guard.firewall.nfsocket import NetlinkSocket, Refusal
    from guard.wire.nfnetlink import Message

_HOOKS = {0: "prerouting", 1: "input", 2: "forward", 3: "output", 4: "postrouting"}

_LISTINGS = 6  # a resize takes milliseconds, a listing of 50,000 a tenth of a second


class Built(NamedTuple):
    """The transaction, the ban sets that exist once it is through, and which of them hold something."""

    messages: Sequence[Message]
    ban_sets: Sequence[SetKey]
    filled: frozenset[SetKey]


def build(kernel: NetlinkSocket, layout: Layout) -> Built:
    """Look at what stands and write the transaction; FirewallError if something of our name is not ours."""
    allow = allow_sets(layout.allow)
    found = _survey(kernel)
    bans = {key: attrs for name, attrs in found.items() if (key := parse_name(name)) and key.purpose != ALLOW}
    filled = frozenset(key for key in bans if _holds_any(kernel, key))
    wanted = [*HOST_SETS, *sorted(filled.difference(HOST_SETS))]
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
    for key in filled.intersection(moving):
        writer = key.writer()
        kept = [(address, left) for address, left in elements_of(kernel, key).items() if left is not None]
        messages += writer.messages(Kind.NEW_ELEMENT, CREATE, writer.timed(kept))
    messages += topology.first_rules()
    messages += [topology.set_rule(key) for key in [*allow, *wanted]]
    return Built(messages, wanted, filled)


def elements_of(kernel: NetlinkSocket, key: SetKey) -> dict[bytes, int | None]:
    """List a set: address bytes and milliseconds left. O(n^2) in the kernel, whose dump starts over every 32 KiB.

    Each start skips as many elements as were already told, so a hash table that is being resized or cleaned meanwhile
    loses some and repeats others (nft_rhash_walk; 50,000 fresh ones were listed as 39,480), and the kernel does not
    mark such a dump as interrupted. So a listing of several messages is taken again until one has all there is.
    """
    found: dict[bytes, int | None] = {}
    for again in range(_LISTINGS):
        bodies = kernel.ask(key.writer().listing())
        listed = [pair for body in bodies for pair in elements(body)]
        found.update(listed)
        if len(bodies) <= 1 or (again and len(listed) == len(found)):
            break
    return found


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


def _survey(kernel: NetlinkSocket) -> dict[str, Mapping[str, object]]:
    """List the sets that bear a name of ours; FirewallError if one of them, or the chain, is of another shape."""
    for body in kernel.ask(topology.ask_table()):
        if cast("int", decode(TableMessage, body).get("FLAGS", 0)) & topology.DORMANT:
            # Somebody switched it off. It cannot be woken and given a chain in one transaction (nf_tables_addchain).
            raise FirewallError(
                f"table inet {TABLE} is dormant; wake it with `nft add table inet {TABLE}`, or delete it"
            )
    for body in kernel.ask(topology.ask_chain()):
        chain = decode(ChainMessage, body)
        if any(chain.get(name) != value for name, value in topology.CHAIN_SHAPE.items()):
            raise _conflict(f"chain {CHAIN}", _show_chain(chain), _show_chain(topology.CHAIN_SHAPE))
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


def _holds_any(kernel: NetlinkSocket, key: SetKey) -> bool:
    listing = kernel.listen(key.writer().listing())
    try:
        return any(True for answer in listing if answer.body for _ in elements(answer.body))
    finally:
        listing.close()
