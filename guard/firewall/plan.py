"""What a run of changes comes to, before it is put into a kernel's words.

A transaction is seen whole or not at all, so of all changes of one source only the outcome matters. Folding keeps the
order's meaning (add, remove, add leaves the last ban) and leaves each element once, which the kernel's batches need:
deleting a key twice in one batch fails it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import HOST_LENGTH
from guard.core.ban import Op
from guard.core.rule import Scope
from guard.core.units import MILLISECOND
from guard.errors import FirewallError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guard.core.address import Source
    from guard.core.ban import Ban, Change
    from guard.core.units import Instant

SCOPES = (Scope.ALL, Scope.SIP, Scope.SLOW)
GONE = 3  # an index that no scope has

# An enum's member looked up on its class costs as much as the rest of a step (3.11); these loops see every ban.
_ALL, _SIP, _SLOW = SCOPES
_ADD, _REMOVE = Op.ADD, Op.REMOVE

# By the first two bytes of a source, family and prefix length: how long its address is and which bits must be zero.
_FORM = {
    bytes((family, length)): (bits // 8, (1 << bits - length) - 1)
    for family, bits in HOST_LENGTH.items()
    for length in range(bits + 1)
}
_NO_FORM = (-9, 0)  # a length that no source has


class Fold(NamedTuple):
    """The outcome for the sources of one family and prefix length, by their address bytes.

    `last` says what every source that was added comes to: milliseconds left << 2 | index of its scope, or GONE if it
    was removed again: either way no other scope may hold it. `lifted` has those only removed, with one bit per scope.
    """

    last: dict[bytes, int]
    lifted: dict[bytes, int]


def fold(changes: Iterable[Change], now: Instant) -> dict[bytes, Fold]:
    """Fold changes, by family and prefix length; FirewallError on a source that is no network.

    Bans that have ended by `now` are skipped. Milliseconds are rounded up: nobody is let in early, and the kernel would
    take 0 for "never ends".
    """
    folds: dict[bytes, Fold] = {}
    kind = b""
    size = host_bits = 0
    for op, ban in changes:
        source = ban.source
        if source[:2] != kind:
            kind = source[:2]
            size, host_bits = _FORM.get(kind, _NO_FORM)
            last, lifted = folds.setdefault(kind, Fold({}, {}))
        key = source[2:]
        if len(key) != size or (host_bits and int.from_bytes(key, "big") & host_bits):
            raise bad_source(source)
        scope = ban.scope
        index = 0 if scope is _ALL else 1 if scope is _SIP else 2
        if op is _ADD:
            left = ban.until - now
            if left > 0:
                last[key] = -(-left // MILLISECOND) << 2 | index
        elif op is _REMOVE:
            outcome = last.get(key)
            if outcome is None:
                lifted[key] = lifted.get(key, 0) | 1 << index
            elif outcome & 3 == index:
                last[key] = GONE
            # else the add took it out of this scope already
    return folds


def left_of(bans: Iterable[Ban], now: Instant) -> dict[tuple[bytes, Scope], list[tuple[bytes, int]]]:
    """Sort bans by family and length, and scope: address bytes and milliseconds left, rounded up; ended ones not.

    For bans of different sources that need no folding; FirewallError on a source that is no network.
    """
    found: dict[tuple[bytes, Scope], list[tuple[bytes, int]]] = {}
    kind, scope = b"", _ALL
    entries: list[tuple[bytes, int]] = []
    size = host_bits = 0
    for ban in bans:
        source = ban.source
        if source[:2] != kind or ban.scope is not scope:
            kind, scope = source[:2], ban.scope
            size, host_bits = _FORM.get(kind, _NO_FORM)
            entries = found.setdefault((kind, scope), [])
        key = source[2:]
        if len(key) != size or (host_bits and int.from_bytes(key, "big") & host_bits):
            raise bad_source(source)
        left = ban.until - now
        if left > 0:
            entries.append((key, -(-left // MILLISECOND)))
    return found


def check(changes: Iterable[Change]) -> None:
    """Raise FirewallError on the first source that is no network."""
    for _, ban in changes:
        source = ban.source
        size, host_bits = _FORM.get(source[:2], _NO_FORM)
        if len(source) != size + 2 or (host_bits and int.from_bytes(source[2:], "big") & host_bits):
            raise bad_source(source)


def check_source(source: Source) -> None:
    """Raise FirewallError if packed bytes are no network."""
    size, host_bits = _FORM.get(source[:2], _NO_FORM)
    if len(source) != size + 2 or int.from_bytes(source[2:], "big") & host_bits:
        raise bad_source(source)


def bad_source(source: Source) -> FirewallError:
    """Say that packed bytes are no network; they come from our own code, so this is a bug of ours."""
    return FirewallError(
        f"source {source.hex()} is no network: expected family, prefix length and 4 or 16 address bytes with all host "
        "bits zero; nothing was changed, please report this"
    )
