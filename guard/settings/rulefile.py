"""Rule files: one rule each, and the folders they come from. docs/rules.md is the language for the administrator.

A later folder goes over an earlier one, file name by file name: a file of the same name replaces the earlier one, and
an empty file switches it off. Nothing is merged, so what a rule does stands in one file.
"""

from __future__ import annotations

import re
import sysconfig
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from guard.core.event import Kind, Service
from guard.core.rule import Mode, Rule, Scope
from guard.core.units import DAY, SECOND, Duration
from guard.settings.mistakes import Mistakes, Place
from guard.settings.possible import ACL_NAMES, POSSIBLE
from guard.settings.table import Placed, Table, anything, choice, duration, whole
from guard.settings.yamlfile import Node, read

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RULES = 200  # the engine asks every rule of a kind for every event
MAX_RUNGS = 20  # nobody counts more strikes than that

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
_RESERVED = {"manual"}  # what a ban by hand has for a rule
_COUNTED = ("service", "events", "acl", "account", "evidence")
_KEYS = ("about", *_COUNTED, "threshold", "window", "ban", "forget", "prefix", "scope", "mode")
_USUAL_PREFIX = {4: 32, 6: 64}

_service = choice("a service", {service.value: service for service in Service})
_kind = choice("an event", {kind.value: kind for kind in Kind})
_acl = choice("the name of an ACL", {name: name for name in sorted(frozenset().union(*ACL_NAMES.values()))})
_proven = choice("a kind of evidence", {"any": False, "proven": True})
_scope = choice("a scope", {scope.value: scope for scope in Scope})
_mode = choice("a mode", {mode.value: mode for mode in Mode})
_rung = duration(SECOND, Duration(30 * DAY))


class Folder(NamedTuple):
    """A folder of rule files. `place` is where astguard.yaml names it; a default one has none and may be missing."""

    path: Path
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class RuleSet:
    """The rules in force, in the order of their names, and the files behind them.

    `sources` has the file of each rule in force, `off` the empty file of each rule that is switched off, `replaced`
    the files that stand behind either and are not read.
    """

    rules: tuple[Rule, ...]
    sources: dict[str, Path]
    off: dict[str, Path]
    replaced: dict[str, tuple[Path, ...]]


def stock_rules_folder() -> Path:
    """Return the first folder of stock rules there is: Debian's, pip's, the source tree's; or else Debian's."""
    debian = Path("/usr/share/astguard/rules")
    pip = Path(sysconfig.get_path("data")) / "share/astguard/rules"
    tree = Path(__file__).parents[2] / "rules"
    return next((folder for folder in (debian, pip, tree) if folder.is_dir()), debian)


def load_rules(folders: Iterable[Folder]) -> RuleSet:
    """Read the rules of all folders, later ones over earlier ones; ConfigError with the mistakes of all files."""
    mistakes = Mistakes()
    files: dict[str, list[Path]] = {}
    for folder in folders:
        for path in _files_of(folder, mistakes):
            files.setdefault(path.stem, []).append(path)
    if len(files) > MAX_RULES:
        mistakes.add(Place(str(max(files.values())[-1])), f"{len(files)} rules; at most {MAX_RULES} are read")
        mistakes.check()
    rules = {name: _read_rule(paths[-1], mistakes) for name, paths in sorted(files.items())}
    mistakes.check()
    return RuleSet(
        rules=tuple(rule for rule in rules.values() if rule),
        sources={name: files[name][-1] for name, rule in rules.items() if rule},
        off={name: files[name][-1] for name, rule in rules.items() if not rule},
        replaced={name: tuple(paths[:-1]) for name, paths in sorted(files.items()) if len(paths) > 1},
    )


def load_rule(path: Path) -> Rule | None:
    """Read one rule file, None if it is empty; ConfigError with all its mistakes."""
    mistakes = Mistakes()
    rule = _read_rule(path, mistakes)
    mistakes.check()
    return rule


def _files_of(folder: Folder, mistakes: Mistakes) -> list[Path]:
    """List the rule files of a folder; what editors and dpkg leave beside them is passed over."""
    try:
        paths = sorted(path for path in folder.path.iterdir() if not path.name.startswith("."))
    except OSError as error:
        if folder.place is not None or not isinstance(error, FileNotFoundError):
            place = folder.place or Place(str(folder.path))
            mistakes.add(place, f"the folder {str(folder.path)!r} cannot be read: {error.strerror}")
        return []
    for path in paths:
        if path.suffix == ".yml":
            mistakes.add(Place(str(path)), f"a rule file ends in .yaml; rename it to {path.stem}.yaml")
    return [path for path in paths if path.suffix == ".yaml"]


def _read_rule(path: Path, mistakes: Mistakes) -> Rule | None:
    if not _NAME.fullmatch(path.stem) or path.suffix != ".yaml":
        text = "a rule's file name is a to z, 0 to 9 and -, begins with a letter, has at most 40 characters, and .yaml"
        mistakes.add(Place(str(path)), text)
    if path.stem in _RESERVED:
        mistakes.add(Place(str(path)), f"{path.stem!r} means bans by command; choose another file name")
    node = read(path, mistakes)
    return None if node is None else _rule(path.stem, node, mistakes)


def _rule(name: str, node: Node, mistakes: Mistakes) -> Rule:
    table = Table(node, mistakes, _KEYS, required=("events", "threshold", "window", "ban"))
    services = table.many("service", _service)
    weights = _weights(table)
    acls = table.many("acl", _acl)
    accounts = table.many("account", anything)
    proven = table.one("evidence", _proven, default=False)
    _check_possible(table, services, weights, acls, proven=proven)
    return Rule(
        name=name,
        about=" ".join(table.one("about", anything, "").split()),
        services=frozenset(service.value for service in services) or None,
        weights={kind: weight.value for kind, weight in weights.items()},
        acls=frozenset(acl.value for acl in acls) or None,
        accounts=frozenset(account.value for account in accounts) or None,
        proven_only=proven,
        threshold=table.one("threshold", whole(1, 1000), 1),
        window=table.one("window", duration(SECOND, Duration(7 * DAY)), SECOND),
        ban=_ladder(table),
        forget=table.one("forget", duration(SECOND, Duration(366 * DAY)), Duration(30 * DAY)),
        prefix=_prefix(table, proven=proven),
        scope=table.one("scope", _scope, Scope.ALL),
        mode=table.one("mode", _mode, None),
    )


def _weights(table: Table) -> dict[Kind, Placed[int]]:
    """Read `events`, a list of weight 1 each or a mapping; the places are those of the events."""
    if table.is_mapping("events"):
        return table.pairs("events", _kind, whole(1, 100), 1)
    return {kind: Placed(1, place) for kind, place in table.many("events", _kind)}


def _ladder(table: Table) -> tuple[Duration, ...]:
    rungs = table.many("ban", _rung, repeats=True)
    for before, rung in pairwise(rungs):
        if rung.value < before.value:
            table.wrong(rung.place, "each further ban must be at least as long as the one before")
    if len(rungs) > MAX_RUNGS:
        table.wrong(rungs[MAX_RUNGS].place, f"more than {MAX_RUNGS} rungs")
    return tuple(rung.value for rung in rungs)


def _prefix(table: Table, *, proven: bool) -> dict[int, int]:
    section = table.table("prefix", ("ipv4", "ipv6"))
    prefix = {
        4: section.one("ipv4", whole(8, 32), _USUAL_PREFIX[4]),
        6: section.one("ipv6", whole(32, 128), _USUAL_PREFIX[6]),
    }
    if not proven and table.sound("evidence"):
        for key, family in (("ipv4", 4), ("ipv6", 6)):
            if prefix[family] < _USUAL_PREFIX[family]:
                text = "banning a whole network needs 'evidence: proven', or forged senders could ban it for you"
                table.wrong(section.where(key), text)
    return prefix


def _check_possible(
    table: Table,
    services: list[Placed[Service]],
    weights: dict[Kind, Placed[int]],
    acls: list[Placed[str]],
    *,
    proven: bool,
) -> None:
    """Note what no Asterisk ever reports: such a rule would look like protection and give none."""
    named = {service.value for service in services} or set(Service)
    words = " or ".join(sorted(named)) if services else "Asterisk"
    for kind, (_, place) in weights.items():
        if kind is Kind.SUCCESSFUL_AUTH:
            table.wrong(place, "'SuccessfulAuth' is a success, and a success is no offence; leave it out")
        elif "acl" in table and kind is not Kind.FAILED_ACL:
            table.wrong(place, f"{kind} names no ACL, so a rule with 'acl' never counts it")
        elif table.sound("service") and not any(kind in POSSIBLE[service] for service in named):
            table.wrong(place, f"{words} never reports {kind}")
    for service, place in services if len(services) > 1 else ():  # of a single one enough is said
        if weights and table.sound("events") and POSSIBLE[service].isdisjoint(weights):
            table.wrong(place, f"{service} reports none of the rule's events")
        elif acls and not ACL_NAMES[service]:
            table.wrong(place, f"{service} names no ACL")
    for acl, place in acls:
        if table.sound("service") and not any(acl in ACL_NAMES[service] for service in named):
            table.wrong(place, f"{words} never names the ACL {acl}")
    if proven and named == {Service.SIP}:
        table.wrong(table.where("evidence"), "chan_sip's addresses are the sender's own words and never proven")
