"""Which supplements there are: those that come with astguard, and the entry points of installed packages."""

from __future__ import annotations

import difflib
import sys
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from guard.core.text import printable
from guard.errors import ConfigError
from guard.supplements.contract import GROUP

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from guard.settings.supplements import Wanted

SHIPPED = {"webhook": "guard.supplements.webhook:Webhook", "mail": "guard.supplements.mail:Mail"}
"""By this table they are found in a tree that is not installed, too."""
SITE = Path("/usr/local/lib/astguard/supplements")
"""Where `pip install --target` puts what Debian has no package of: the command leaves /usr/local's own folder out."""


class Order(NamedTuple):
    """A supplement that was found, with its options; `repr` does not show them."""

    name: str
    target: str
    options: Mapping[str, str]

    def __repr__(self) -> str:
        return f"Order({self.name!r}, {self.target!r})"


def find(wanted: Iterable[Wanted]) -> list[Order]:
    """Find all that is wanted, by priority, and import nothing; ConfigError names those that are not there."""
    wanted = sorted(wanted, key=lambda one: (one.priority, one.name))
    installed = _installed() if any(one.name not in SHIPPED for one in wanted) else {}
    mistakes, found = [], []
    for one in wanted:
        values = {SHIPPED[one.name]} if one.name in SHIPPED else installed.get(one.name, set())
        if len(values) == 1:
            found.append(Order(one.name, values.pop(), one.options))
        elif values:
            mistakes.append(f"{one.place}: {one.name!r} is installed more than once: {', '.join(sorted(values))}")
        else:
            near = difflib.get_close_matches(one.name, [*SHIPPED, *installed], n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"install it, or put it into {SITE}"
            mistakes.append(f"{one.place}: no supplement {one.name!r} is installed; {hint}")
    if mistakes:
        raise ConfigError(mistakes)
    return found


def voters(wanted: Iterable[Wanted]) -> list[tuple[str, object]]:
    """Make those that are asked before a ban, by priority; ConfigError names those that cannot be made.

    They run in the guard itself: nothing is imported that the configuration does not trust with it.
    """
    trusted = {one.name: one for one in wanted if one.before_ban}
    made, mistakes = [], []
    for order in find(trusted.values()):
        place = trusted[order.name].place
        try:
            supplement = make(order)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - whatever somebody else's code raises
            mistakes.append(f"{place}: supplement {order.name!r} cannot be made: {why(error)}")
            continue
        if callable(getattr(supplement, "before_ban", None)):
            made.append((order.name, supplement))
        else:
            mistakes.append(f"{place}: supplement {order.name!r} has no before_ban; take 'before_ban: yes' away")
    if mistakes:
        raise ConfigError(mistakes)
    return made


def make(order: Order) -> object:
    """Import a supplement and make it of its options; whatever its code raises comes through."""
    open_site()
    return EntryPoint(order.name, order.target, GROUP).load()(MappingProxyType(dict(order.options)))


def open_site() -> None:
    """Let modules in SITE be imported, after all others."""
    if SITE.is_dir() and str(SITE) not in sys.path:
        sys.path.append(str(SITE))


def why(error: BaseException) -> str:
    """Say in a few words, fit to be shown, what somebody else's code has raised."""
    return printable(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _installed() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for entry in _entry_points([*sys.path, str(SITE)]):
        found.setdefault(entry.name, set()).add(entry.value)
    return found


def _entry_points(path: Sequence[str]) -> Iterator[EntryPoint]:
    for distribution in distributions(path=list(path)):
        yield from (entry for entry in distribution.entry_points if entry.group == GROUP)
