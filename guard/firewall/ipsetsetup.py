"""What setup() of the iptables backend does: make what is missing, mend what differs, keep the bans.

Nothing is changed before it is known that nothing in the way is somebody else's. The sets come first, then the rules,
so that no rule ever looks at a set without its bans.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from guard.core.address import HOST_LENGTH, family, length
from guard.errors import FirewallError, TableGone
from guard.firewall import ipsets, xtrules
from guard.firewall.ipsets import ALLOW_SIZE, PORTS, PREFIX, SPARE
from guard.firewall.ipsetsocket import refusal
from guard.firewall.xtrules import CHAIN
from guard.wire.ipset import Command, Refused, entries

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from guard.core.address import Source
    from guard.firewall import Layout
    from guard.firewall.ipsets import BanKey, Header
    from guard.firewall.ipsetsocket import IpsetSocket
    from guard.firewall.xtables import RawTable
    from guard.wire.ipset import EntryWriter
    from guard.wire.nfnetlink import Message


def names_of_ours(kernel: IpsetSocket) -> list[str]:
    """List the sets that bear a name of ours."""
    names = [ipsets.read_name(body) for body in kernel.ask(ipsets.ask_names())]
    return [name for name in names if name == SPARE or ipsets.shape_of(name) is not None]


def header(kernel: IpsetSocket, name: str) -> Header | None:
    """Ask what a set is; None if it is not there."""
    bodies = list(kernel.ask(ipsets.ask_header(name)))
    return ipsets.read_header(bodies[0]) if bodies else None


def survey(kernel: IpsetSocket, tables: Sequence[RawTable], *, repair: bool) -> dict[BanKey, Header]:
    """Look at what stands: our sets of bans. FirewallError names what bears our name and is of another shape.

    With `repair`, when all of it was ours before, a set of another shape is taken away, with our rules.
    """
    chains = [(table, table.rules()) for table in tables]
    found, wrong = {}, []
    for name in names_of_ours(kernel):
        seen = header(kernel, name)
        if seen is None or name == SPARE:
            continue
        if seen.shape == ipsets.shape_of(name):
            found[name] = seen
        elif repair:
            wrong.append(name)
        else:
            raise FirewallError(
                f"ipset {name} is {seen.shape}, expected {ipsets.shape_of(name)}: it is not ours; nothing was changed, "
                f"rename it with `ipset rename {name} OTHER`, or remove it"
            )
    for table, rules in () if repair else chains:
        for chain in rules:
            if not xtrules.is_ours(chain, rules[chain]):
                raise FirewallError(
                    f"chain {chain} in table raw ({table.command}) has {len(rules[chain])} rules, none of them ours; "
                    f"nothing was changed, rename it with `{table.command} -t raw -E {chain} OTHER`"
                )
    if wrong:
        for table in tables:
            table.remove()
        remove_sets(kernel, wrong)
    return {key: seen for name, seen in found.items() if (key := ipsets.parse_name(name))}


def make_sets(kernel: IpsetSocket, layout: Layout, names: Iterable[str]) -> None:
    """Make the sets that are missing, give those there the size of the layout, and mark them all."""
    for name in names:
        size = ipsets.size_of(layout) if ipsets.parse_name(name) else ALLOW_SIZE if name != PORTS else 0
        seen = header(kernel, name)
        if seen is None:
            order(kernel, [ipsets.create(name, name, size)], f"make ipset {name}")
        elif seen.size != size:
            _resize(kernel, name, size)
        if name != PORTS:
            order(kernel, ipsets.writer(name).messages(Command.ADD, ipsets.mark_entry(name)), f"mark ipset {name}")


def _resize(kernel: IpsetSocket, name: str, size: int) -> None:
    """Move the bans of a set to one of another size, which takes its place at once."""
    writer = ipsets.writer(name)
    kept = [(entry.key, entry.left) for body in kernel.ask(ipsets.ask_elements(name)) for entry in entries(body)]
    bans = writer.timed((address, left) for address, left in kept if left)
    spare = type(writer)(SPARE, len(ipsets.mark(name)))
    remove_sets(kernel, [SPARE] if header(kernel, SPARE) else [])
    messages = [ipsets.create(SPARE, name, size), *spare.messages(Command.ADD, ipsets.mark_entry(name))]
    messages += spare.messages(Command.ADD, bans[: size - 1])
    order(kernel, [*messages, ipsets.swap(SPARE, name), ipsets.destroy(SPARE)], f"give ipset {name} another size")


def set_allow(kernel: IpsetSocket, allow: Collection[Source]) -> None:
    """Make the allow sets hold exactly these networks, and their marks."""
    for number, bits in HOST_LENGTH.items():
        name = ipsets.allow_name(number)
        wanted = networks_of(number, allow) | {(ipsets.mark(name), bits)}
        bodies = kernel.ask(ipsets.ask_elements(name))
        held = {(entry.key, entry.length) for body in bodies for entry in entries(body)}
        writer = ipsets.writer(name)
        exchange(kernel, writer, writer.networks(sorted(wanted - held)), writer.networks(sorted(held - wanted)))


def change_allow(kernel: IpsetSocket, added: Collection[Source], gone: Collection[Source]) -> None:
    """Add networks to the allow sets, and take others out."""
    for number in HOST_LENGTH:
        writer = ipsets.writer(ipsets.allow_name(number))
        coming, going = (writer.networks(networks_of(number, sources)) for sources in (added, gone))
        exchange(kernel, writer, coming, going)


def networks_of(number: int, sources: Collection[Source]) -> set[tuple[bytes, int]]:
    """Pick the sources of one family, each as address and prefix length."""
    found: set[tuple[bytes, int]] = set()
    for source in sources:
        if family(source) == number and length(source) == 0:  # hash:net knows no shorter network than half of all
            found.update((bytes((first,)) + source[3:], 1) for first in (0, 128))
        elif family(source) == number:
            found.add((bytes(source[2:]), length(source)))
    return found


def set_ports(kernel: IpsetSocket, ports: Collection[int]) -> None:
    """Make the set of ports hold exactly these."""
    bodies = kernel.ask(ipsets.ask_elements(PORTS))
    held = {int.from_bytes(entry.key, "big") for body in bodies for entry in entries(body)}
    writer = ipsets.writer(PORTS)
    exchange(kernel, writer, writer.ports(sorted({*ports} - held)), writer.ports(sorted(held - {*ports})))


def exchange(kernel: IpsetSocket, writer: EntryWriter, added: Sequence[bytes], gone: Sequence[bytes]) -> None:
    """Add elements to a set, then take others out."""
    messages = writer.messages(Command.ADD, added) + writer.messages(Command.DELETE, gone)
    order(kernel, messages, f"change ipset {writer.name}")


def rules_of(
    number: int, keys: Collection[BanKey], numbers: Mapping[str, int], rate: int
) -> dict[str, list[xtrules.Rule]]:
    """Say what our chains of one family have to hold."""
    guard = xtrules.guard(number, numbers, ipsets.allow_name(number), PORTS, keys, rate)
    return {CHAIN: list(guard), **{chain: [xtrules.drop(number)] for chain in xtrules.DROPS.values()}}


def remove_sets(kernel: IpsetSocket, names: Iterable[str]) -> None:
    """Take sets away that no rule of ours looks up any more; FirewallError if somebody else's does."""
    for name in names:
        refused = kernel.order([ipsets.destroy(name)])
        if refused is not None and refused.errno == Refused.BUSY:
            raise FirewallError(
                f"ipset {name} is looked up by a rule that is not ours, so it stays; find it with "
                f"`iptables-save | grep {PREFIX}` and `iptables-legacy-save | grep {PREFIX}`"
            )
        if refused is not None:
            raise refusal(refused.errno, f"the kernel does not let ipset {name} go")


def order(kernel: IpsetSocket, messages: Sequence[Message], what: str) -> None:
    """Carry out messages; FirewallError says what could not be done."""
    refused = kernel.order(messages)
    if refused is not None and refused.errno == errno.ENOENT:
        raise TableGone(f"the kernel refused to {what}: it is gone, somebody destroyed it", bans_kept=True)
    if refused is not None:
        raise refusal(refused.errno, f"the kernel refused to {what}")
