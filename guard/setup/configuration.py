"""What setup writes into astguard.yaml, and whom it proposes never to ban."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guard.asterisk.manager import Listener
from guard.core.address import covers, parse_network, show_short
from guard.core.text import printable
from guard.errors import AddressError, ConfigError, HostError
from guard.host.disk import load
from guard.settings.config import Config, parse_config
from guard.settings.mistakes import Mistakes
from guard.settings.secretfile import is_credential
from guard.settings.yamlfile import Mapping, parse
from guard.setup.block import put_block
from guard.setup.plan import YAML, Change, Plan, own_files

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from guard.asterisk.telephony import Trunk
    from guard.core.address import Source
    from guard.host.place import Place

ALLOW_LIMIT = 200
"""Entries that are proposed; the rest of the trunks of a large PBX is told of by doctor."""
WHY_LIMIT = 60

HEAD = [
    "# astguard's configuration, made by 'astguard setup'. 'astguard check' names every mistake in it.",
    "",
]


class Proposal(NamedTuple):
    """An entry for the allowlist, and why."""

    entry: str
    why: str


def propose(networks: Iterable[Source], trunks: Iterable[Trunk], callers: Iterable[Source]) -> list[Proposal]:
    """Say whom to allow: the administrator's own way in, this host's private networks, and trunks."""
    found = [Proposal(show_short(source), "where you are logged in from") for source in callers]
    found += [Proposal(show_short(source), "a private network of this host") for source in networks]
    found += [Proposal(trunk.peer, printable(trunk.what, WHY_LIMIT)) for trunk in trunks]
    return list({proposal.entry: proposal for proposal in reversed(found)}.values())[::-1][:ALLOW_LIMIT]


def plan_configuration(plan: Plan, path: Path, place: Place, proposals: list[Proposal]) -> None:
    """Plan astguard.yaml: all of it, or the keys that a file which is there has not."""
    before = load(path)
    data = before or b""
    named = _named(path, data)
    sections = {
        "mode": ["mode: observe             # says whom it would ban, bans nobody; content with it? write 'enforce'"],
        "ami": _ami(plan),
        "logs": []
        if place.etc == Config().logs.logger_conf.parent
        else ["logs:", f"  logger_conf: {place.etc}/logger.conf"],
        "allow": ["allow:                    # never banned", *_entries(proposals)] if proposals else [],
    }
    lines = [line for key, text in sections.items() if key not in named for line in text]
    if lines:
        after = ("\n".join([*HEAD, *lines]) + "\n").encode() if before is None else put_block(data, lines, YAML)
        _prove(path, after)
        plan.add(
            Change(path=path, before=before, after=after, owner=own_files(), why="astguard's configuration", sign=YAML)
        )
    if not named:
        return
    config = parse_config(data, path)
    if "ami" in named and config.ami.secret_file is None:
        plan.notes.append(f"{path}: write 'secret_file: ami.secret' under 'ami'")
    if "ami" in named and config.ami.port != plan.port and not config.ami.tls:
        plan.notes.append(f"{path}: 'ami' names port {config.ami.port}, and manager.conf has {plan.port}")
    if "allow" in named:
        missing = _missing(config, proposals)
        plan.notes += [f"not on the allowlist of {path}: {entry} ({why})" for entry, why in missing]


def config_now(path: Path) -> Config:
    """Read the configuration as it is, the defaults if there is none; HostError if it has mistakes."""
    data = load(path)
    try:
        return parse_config(data, path) if data else Config()
    except ConfigError as error:
        raise HostError(f"{error}; mend it first") from None


def secret_path(config: Config, path: Path) -> Path:
    """Return where the secret stands: what the configuration at `path` names, or ami.secret beside it."""
    if not _is_local(config.ami.host):
        raise HostError(f"{path}: ami.host is {config.ami.host}, another host; run setup there, or take the line out")
    if config.ami.secret is not None:
        raise HostError(
            f"{path}: the AMI secret stands in it; put it into a file and name that, 'secret_file: ami.secret'"
        )
    if is_credential(config.ami.secret_file):
        raise HostError(f"{path}: systemd hands the AMI secret over ({config.ami.secret_file}); make the user by hand")
    return config.ami.secret_file or path.with_name("ami.secret")


def _is_local(host: str) -> bool:
    return Listener("", host, "", "").is_loopback


def _ami(plan: Plan) -> list[str]:
    port = [f"  port: {plan.port}"] if plan.port != Config().ami.port else []
    user = [f"  username: {plan.username}"] if plan.username != Config().ami.username else []
    return ["ami:", *port, *user, "  secret_file: ami.secret"]


def _entries(proposals: list[Proposal]) -> list[str]:
    width = max(len(proposal.entry) for proposal in proposals)
    return [f"  - {entry.ljust(width)}  # {why}" for entry, why in proposals]


def _named(path: Path, data: bytes) -> set[str]:
    """Return the keys that a file gives already; HostError if it has mistakes."""
    mistakes = Mistakes()
    node = parse(data, str(path), mistakes)
    try:
        mistakes.check()
    except ConfigError as error:
        raise HostError(f"{error}; mend it first") from None
    return set(node.pairs) if isinstance(node, Mapping) else set()


def _prove(path: Path, after: bytes) -> None:
    try:
        parse_config(after, path)
    except ConfigError as error:
        raise HostError(
            f"{path} would not come out as meant: {error}; add the lines by hand, README.md shows them"
        ) from None


def _missing(config: Config, proposals: list[Proposal]) -> list[Proposal]:
    names = {entry.name for entry in config.allow_names}
    sources = [entry.source for entry in config.allow]

    def is_there(entry: str) -> bool:
        try:
            return any(covers(source, parse_network(entry)) for source in sources)
        except AddressError:
            return entry in names

    return [proposal for proposal in proposals if not is_there(proposal.entry)]
