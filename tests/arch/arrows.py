"""Six floors, and an import only ever goes down; rooms on one floor do not import each other."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tests.arch.tree import Tree, imports, module_name

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOORS = (
    ("errors",),
    ("core",),
    ("wire", "settings", "store", "asterisk"),
    ("firewall", "sensors", "api", "recordings", "host", "supplements"),
    ("replay", "daemon", "doctor", "setup"),
    ("cli",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

CORE_MAY_IMPORT = {
    *("__future__", "collections", "dataclasses", "enum", "functools", "types", "typing"),
    *("array", "bisect", "heapq", "ipaddress", "itertools", "math", "operator", "re", "struct", "hashlib", "hmac"),
}
"""Nothing that reads a clock, a file, a socket or chance (law 7)."""

WIRE_NEVER_IMPORTS = {
    *("asyncio", "selectors", "select", "socket", "ssl", "subprocess", "threading"),
    *("random", "time"),
}
"""Bytes or text in, core types out; who reads the bytes is not wire's business."""

OUTSIDERS = {
    "yaml": {"settings"},  # one strict reader
    "pyroute2": {"firewall", "sensors"},  # the one changes the kernel, the other asks it for our own addresses
    "iptc": {"firewall"},
    "aiohttp": {"api", "cli"},
    "prometheus_client": {"api"},
}
"""Libraries from outside, and the rooms that may import them."""


def arrows_that_go_up(tree: Tree) -> Iterator[str]:
    """Complain of imports between rooms that do not go down, those for the type checker included."""
    for file in tree.python("guard/"):
        room = _room(module_name(tree, file))
        if room in {"", "__main__"}:  # the package itself and `python -m guard`: the front door
            continue
        if room not in FLOOR:
            yield f"{tree.name(file)}: the room {room!r} is on no floor; add it to FLOORS in tests/arch/arrows.py"
            continue
        for line, name, _ in imports(file):
            other = _room(name) if name.split(".")[0] == "guard" else room
            if other in {room, "", "__version__"}:
                continue
            if FLOOR.get(other, len(FLOORS)) >= FLOOR[room]:
                yield f"{tree.name(file)}:{line}: {room} must not import {name}: an import only goes down"


def imports_of_the_core(tree: Tree) -> Iterator[str]:
    """Complain of what would make the core impure."""
    for file in tree.python("guard/core/"):
        for line, name, _ in imports(file):
            top = name.split(".")[0]
            if top not in CORE_MAY_IMPORT | {"guard"}:
                yield f"{tree.name(file)}:{line}: the core must not import {top}; what it needs is an argument"


def imports_of_the_wire(tree: Tree) -> Iterator[str]:
    """Complain of what would let wire read or wait by itself, or Asterisk's files be more than read."""
    for file in (*tree.python("guard/wire/"), *tree.python("guard/asterisk/")):
        for line, name, _ in imports(file):
            if name.split(".")[0] in WIRE_NEVER_IMPORTS:
                room = _room(module_name(tree, file))
                yield f"{tree.name(file)}:{line}: {room} must not import {name}; it gets bytes or text and gives values"


def libraries_out_of_place(tree: Tree) -> Iterator[str]:
    """Complain of a library from outside that is unknown here or imported in the wrong room."""
    for file in tree.python("guard/"):
        for line, name, _ in imports(file):
            top = name.split(".")[0]
            if top == "guard" or top in sys.stdlib_module_names:
                continue
            rooms = OUTSIDERS.get(top, set())
            if _room(module_name(tree, file)) not in rooms:
                where = f"only in {', '.join(sorted(rooms))}" if rooms else "nowhere"
                yield f"{tree.name(file)}:{line}: {top} may be imported {where}"


def cycles(tree: Tree) -> Iterator[str]:
    """Complain of modules that need each other to load."""
    names = {module_name(tree, file): file for file in tree.python("guard/")}
    needs: dict[str, set[str]] = {}
    for module, file in names.items():
        wanted = (name if name in names else name.rpartition(".")[0] for _, name, at_load in imports(file) if at_load)
        needs[module] = {name for name in wanted if name in names and name != module}
    finished: set[str] = set()

    def follow(module: str, path: list[str]) -> Iterator[str]:
        if module in path:
            yield "cycle: " + " imports ".join([*path[path.index(module) :], module])
        elif module not in finished:
            for other in sorted(needs[module]):
                yield from follow(other, [*path, module])
            finished.add(module)

    for module in sorted(needs):
        yield from follow(module, [])


def _room(module: str) -> str:
    """Name the room of guard.core.rule: core. The package itself is the empty room."""
    return module.removeprefix("guard").removeprefix(".").partition(".")[0]
