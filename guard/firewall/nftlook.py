"""What of ours stands in the kernel, in a form that can be compared: whether it is all as we made it.

No set is listed, so a look costs a fifth of a millisecond however many bans there are. An object is known by its
handle, which the kernel gives once: a set, rule or chain that was deleted and made again has another. Beside it stands
what can be changed in place: a chain's policy, a table's flags, a rule's steps.

Every answer bears the generation it was true in, and every transaction in the namespace makes a new one. So a look
that follows a transaction of ours, and is just one generation younger than the look before it, saw nothing but ours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.text import printable
from guard.firewall import nftopology as topology
from guard.firewall.nftopology import CHAIN, COUNTED, RULES_OF_NO_SET, SIP_PORTS, TABLE, parse_name, read_comment
from guard.wire.nfnetlink import attributes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from guard.firewall.nfsocket import NetlinkSocket

_TABLE, _RULE = "the table", "rule "
_NAMED = 3  # so many differences are named, the largest things first; the rest is counted


class Standing(NamedTuple):
    """What stands, each object with what it is known by; `generations` are those it was seen in (16 bits each)."""

    objects: Mapping[str, bytes]
    generations: frozenset[bytes]

    def follows(self, generation: int) -> bool:
        """Tell whether this is what a single transaction, after that generation, has made of it."""
        return self.generations == {(generation + 1 & 0xFFFF).to_bytes(2, "big")}

    def has_all_of(self, before: Standing) -> bool:
        """Tell whether nothing of what stood before is missing or changed."""
        return before.objects.items() <= self.objects.items()

    def makes_sense(self) -> bool:
        """Tell whether every set of ours has its one rule, and no rule is anybody else's."""
        sets = [name.removeprefix("set ") for name in self.objects if name.startswith("set ")]
        wanted = [*RULES_OF_NO_SET, *(topology.comment_of(name) for name in sets if name != SIP_PORTS)]
        seen = [name.removeprefix(_RULE) for name in self.objects if name.startswith(_RULE)]
        return sorted(seen) == sorted(wanted)


def look(kernel: NetlinkSocket) -> Standing:
    """Look at all that bears our name; what others keep in our table under names of their own is not looked at."""
    objects: dict[str, bytes] = {}
    generations = set()

    def note(name: str, body: bytes, known_by: tuple[int, ...]) -> None:
        attrs = dict(attributes(body, 4))
        objects[name] = b"".join(attrs.get(number, b"-") for number in known_by)
        generations.add(body[2:4])

    for body in kernel.ask(topology.ask_table()):
        note(_TABLE, body, (2, 4, 6, 7))  # flags, handle, userdata, owner
    for body in kernel.ask(topology.ask_chain()):
        note(f"chain {CHAIN}", body, (2, 4, 5, 7, 10))  # handle, hook, policy, type, flags
    for body in kernel.ask(topology.ask_sets()):
        name = _name(body, 2)
        if name == SIP_PORTS or parse_name(name):
            note(f"set {name}", body, (16, 3, 4, 5, 17))  # handle, flags, key type and length, limit
    for body in kernel.ask(topology.ask_counters()):
        name = _name(body, 2)
        if name in COUNTED:
            note(f"counter {name}", body, (6, 3))  # handle, type
    for number, body in enumerate(kernel.ask(topology.ask_rules())):
        text = read_comment(dict(attributes(body, 4)).get(7, b""))
        name = _RULE + (text or "by somebody else")
        note(name if name not in objects else f"{name} ({number})", body, (3, 4, 7))  # handle, steps, userdata
    return Standing(objects, frozenset(generations))


def difference(made: Standing, found: Standing) -> tuple[str, bool] | None:
    """Say what is missing or changed, and whether the sets of bans are all still there; None if nothing is."""
    before, now = made.objects, found.objects
    if before == now:
        return None
    if _TABLE not in now:
        return f"table inet {TABLE} is gone: somebody flushed nftables; it has to be set up again", False
    same_table = before[_TABLE] == now[_TABLE]
    kept = same_table and all(now.get(name) == known for name, known in before.items() if name.startswith("set "))
    told = [
        _tell("is gone", "are gone", [name for name in before if name not in now]),
        _tell("is not ours", "are not ours", [name for name in now if name not in before]),
        _tell("was changed", "were changed", [name for name, known in before.items() if now.get(name, known) != known]),
    ]
    return f"in table inet {TABLE}, {'; '.join(filter(None, told))}; it has to be set up again", kept


def foreign_rule(kernel: NetlinkSocket) -> int | None:
    """Return the handle of a rule in our chain that bears no comment of ours, or None."""
    for body in kernel.ask(topology.ask_rules()):
        attrs = dict(attributes(body, 4))
        if not read_comment(attrs.get(7, b"")).startswith(topology.COMMENT):
            return int.from_bytes(attrs.get(3, b""), "big")
    return None


def generation(kernel: NetlinkSocket) -> int:
    """Return how many transactions this network namespace has seen."""
    (body,) = kernel.ask(topology.ask_generation())
    return int.from_bytes(dict(attributes(body, 4)).get(1, b""), "big")


def _name(body: bytes, number: int) -> str:
    return dict(attributes(body, 4)).get(number, b"").rstrip(b"\0").decode("ascii", "replace")


def _tell(one: str, many: str, names: Iterable[str]) -> str:
    listed = [printable(name) for name in names]
    if not listed:
        return ""
    shown = ", ".join(listed[:_NAMED]) + (f" and {len(listed) - _NAMED} more" if len(listed) > _NAMED else "")
    return f"{shown} {one if len(listed) == 1 else many}"
