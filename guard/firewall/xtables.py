"""The legacy table `raw` of one family, through python-iptables: read, compared and changed as a whole.

libiptc fetches the whole table, changes it in memory and puts it back in one system call, so what is done between
`change()` and its end is there at once or not at all. Nobody else may do the same meanwhile, or one of the two is
lost: hence the lock that the commands `iptables` and `iptables-restore` take too.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guard.errors import FirewallError, FirewallMissing, FirewallUnavailable
from guard.firewall import xtrules
from guard.firewall.xtrules import CHAINS, Rule

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guard.core.rule import Scope

LOCK = Path("/run/xtables.lock")
"""What iptables 1.8 locks (XT_LOCK_NAME)."""
PATIENCE = 0.1
"""Seconds to wait for the lock. `iptables` holds it for milliseconds, and reading waits for us."""
_STEP = 0.002
_HOOK = "PREROUTING"


class RawTable:
    """Table `raw` of IPv4 (4) or IPv6 (6). Loads python-iptables when it is first used."""

    def __init__(self, family: int) -> None:
        self.family = family
        self._table: Any = None

    def rules(self) -> dict[str, list[Rule]]:
        """Read the rules of our chains, by chain; one that does not exist is missing."""
        table = self._fresh()
        return {chain: self._rules(table, chain) for chain in CHAINS if table.is_chain(chain)}

    def difference(self, wanted: Mapping[str, Sequence[Rule]]) -> str:
        """Say what is not as it should be, nothing if all is: each of our chains, and the jump to the first."""
        rules = self.rules()
        for chain, expected in wanted.items():
            if chain not in rules:
                return f"chain {chain} is gone"
            if rules[chain] != expected:
                return f"chain {chain} has other rules than ours"
        if xtrules.jump(self.family) not in self._rules(self._table, _HOOK):
            return f"the rule that leads from {_HOOK} to chain {xtrules.CHAIN} is gone"
        return ""

    def counted(self) -> dict[Scope, tuple[int, int]]:
        """Read packets and bytes that each of our chains has dropped; a chain that is gone is missing."""
        table = self._fresh()
        found = {}
        for scope, chain in xtrules.DROPS.items():
            entry = table.first_rule(chain) if table.is_chain(chain) else None
            if entry:
                found[scope] = xtrules.counters(self.family, _bytes_of(entry))
        return found

    def write(self, wanted: Mapping[str, Sequence[Rule]]) -> None:
        """Make our chains hold exactly these rules, and the first rule of PREROUTING lead to the guard.

        A chain that is as it should be is not touched, so its counters go on. FirewallError if it is refused.
        """
        with self._change() as table:
            for chain in CHAINS:
                if not table.is_chain(chain):
                    table.create_chain(chain)
            for chain in CHAINS:
                if self._rules(table, chain) != list(wanted[chain]):
                    table.flush_entries(chain)
                    for rule in wanted[chain]:
                        table.append_entry(chain, self._entry(rule))
            jump = xtrules.jump(self.family)
            there = self._rules(table, _HOOK)
            if there[:1] != [jump] or there.count(jump) > 1:
                self._unhook(table, there)
                table.insert_entry(_HOOK, self._entry(jump), 0)

    def remove(self) -> bool:
        """Take away our chains and what leads to them from PREROUTING; False if there are none.

        FirewallError if others lead there too.
        """
        if not any(self._fresh().is_chain(chain) for chain in CHAINS):
            return False
        with self._change() as table:
            self._unhook(table, self._rules(table, _HOOK))
            there = [chain for chain in CHAINS if table.is_chain(chain)]
            for chain in there:
                table.flush_entries(chain)
            for chain in there:
                table.delete_chain(chain)
        return True

    def _unhook(self, table: Any, there: Sequence[Rule]) -> None:
        jump = xtrules.jump(self.family)
        entry = self._entry(jump)
        mask = (ctypes.c_ubyte * len(entry))(*b"\xff" * len(entry))
        for _ in range(there.count(jump)):
            table.delete_entry(_HOOK, entry, mask)

    def _rules(self, table: Any, chain: str) -> list[Rule]:
        found = []
        entry = table.first_rule(chain)
        while entry:
            target = table.get_target(entry) or b""
            found.append(xtrules.unpack(self.family, _bytes_of(entry), target.decode("ascii", "replace")))
            entry = table.next_rule(entry)
        return found

    def _entry(self, rule: Rule) -> Any:
        return ctypes.create_string_buffer(packed := xtrules.pack(self.family, rule), len(packed))

    @contextmanager
    def _change(self) -> Iterator[Any]:
        with locked():
            table = self._fresh()
            try:
                yield table
                table.commit()
            except load().IPTCError as fault:
                raise FirewallError(
                    f"the kernel refused a change of table raw ({self.command}): {_text(fault)}; nothing of it was "
                    f"changed; '{self.command} -t raw -S' shows it"
                ) from None

    @property
    def command(self) -> str:
        """Name the command that shows this table."""
        return "iptables-legacy" if self.family == 4 else "ip6tables-legacy"

    def _fresh(self) -> Any:
        """Fetch the table as it is now, in the network namespace of this moment."""
        library = load()
        try:
            if self._table is None:
                self._table = (library.Table if self.family == 4 else library.Table6)("raw", autocommit=False)
            self._table.refresh()
        except library.IPTCError as fault:
            text = _text(fault)
            if "ermi" in text or "root" in text:  # "Permission denied (you must be root)"
                raise FirewallUnavailable(
                    "reading the legacy tables needs root, or CAP_NET_ADMIN and CAP_NET_RAW, in this network namespace"
                ) from None
            raise FirewallMissing(
                f"this kernel has no legacy table raw for IPv{self.family} ({text}): load it with `modprobe "
                f"{'iptable_raw' if self.family == 4 else 'ip6table_raw'}`, or use the backend nftables"
            ) from None
        return self._table


def load() -> Any:
    """Import python-iptables; FirewallUnavailable says which package is missing, whatever the trouble was.

    It looks for the libraries of iptables by running ldconfig, which takes 0.3 s: once, when the backend is chosen.
    """
    try:
        import iptc  # noqa: PLC0415 - only this backend needs it
    except Exception as fault:  # noqa: BLE001 - ctypes, distutils (gone in Python 3.12), missing libraries: all the same
        raise FirewallUnavailable(
            f"the backend iptables needs python-iptables and the libraries of iptables ({type(fault).__name__}: "
            f"{fault}): install the packages python3-iptables and iptables (from Python 3.12 on python3-setuptools "
            "too), with pip astguard[iptables], or use the backend nftables"
        ) from None
    return iptc


@contextmanager
def locked() -> Iterator[None]:
    """Hold the lock of the commands `iptables`; FirewallError if somebody else does for too long."""
    try:
        descriptor = os.open(LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as fault:
        raise FirewallUnavailable(
            f"cannot open {LOCK} ({fault.strerror}), which keeps us and `iptables` apart: run as root, or let the "
            "group have it with a line in /etc/tmpfiles.d: f /run/xtables.lock 0660 root astguard"
        ) from None
    try:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as fault:
                if fault.errno != errno.EWOULDBLOCK or time.monotonic() > deadline:
                    raise FirewallError(
                        f"another program holds {LOCK} for more than {PATIENCE:g} s; see who with `fuser {LOCK}`"
                    ) from None
                time.sleep(_STEP)
        yield
    finally:
        os.close(descriptor)


def _bytes_of(entry: Any) -> bytes:
    """Copy an entry out of libiptc's memory, where it stands with its matches and target behind it."""
    return ctypes.string_at(ctypes.addressof(entry), entry.next_offset)


def _text(fault: Exception) -> str:
    return str(fault).replace("b'", "").replace("'", "")
