"""`astguard check`: reads all that `run` would read, changes nothing, and names every mistake at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guard.cli import options as common
from guard.cli.options import add_command, read_config
from guard.cli.output import Output
from guard.cli.rules import count
from guard.errors import ConfigError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from guard.cli.options import Commands
    from guard.settings.config import Ami, Config
    from guard.settings.rulefile import RuleSet


def add_to(commands: Commands) -> None:
    """Add the command."""
    about = (
        "Read the configuration, the rules and the AMI secret, and change nothing. Every mistake is a line with file,\n"
        "line and column; then the exit code is 78."
    )
    add_command(commands, "check", _check, about, "check", "check --config ./astguard.yaml")


def _check(options: Namespace) -> int:
    from guard.settings.config import Config, rules_of
    from guard.settings.rulefile import RuleSet, load_rules
    from guard.settings.secretfile import is_credential

    path = options.config or common.DEFAULT_CONFIG
    config, ruleset = Config(), RuleSet((), {}, {}, {})
    mistakes: list[str] = []
    try:
        config = read_config(options, needed=True)
        folders = config.rules
    except ConfigError as error:
        mistakes += error.mistakes
        folders = rules_of(path)
    wrong = bool(mistakes)
    try:
        ruleset = load_rules(folders)
    except ConfigError as error:
        mistakes += error.mistakes
    try:
        if not (wrong or is_credential(config.ami.secret_file)):
            config.read_secret()
    except ConfigError as error:
        mistakes += error.mistakes
    if not wrong:
        mistakes += _supplements(config)
    output = Output(options)
    if output.for_programs:
        numbers = {"rules": len(ruleset.rules), "off": len(ruleset.off), "allow": _allowed(config)}
        output.data({"config": str(path), "mode": str(config.mode), **numbers, "mistakes": mistakes})
    if mistakes:
        raise ConfigError(mistakes)
    if not output.for_programs:
        print("\n".join(summary(config, ruleset, str(path))))
    return 0


def summary(config: Config, ruleset: RuleSet, path: str) -> list[str]:
    """Say what was read, a line each."""
    folders = len({file.parent for file in ruleset.sources.values()})
    rules = f"{len(ruleset.rules)} from {count(folders, 'folder')}"
    rules += f", {len(ruleset.replaced)} replaced" if ruleset.replaced else ""
    rules += f", {len(ruleset.off)} switched off" if ruleset.off else ""
    observing = sum(rule.mode == "observe" for rule in ruleset.rules)
    rules += f", {observing} only observing" if observing and config.mode != "observe" else ""
    ami, statsd = config.ami, config.statsd
    meters = "not sent" if statsd is None else f"to {statsd.host} port {statsd.port}"
    return [
        f"configuration: {path}, no mistakes",
        f"mode: {config.mode}" + (" (bans are said, not made)" if config.mode == "observe" else ""),
        f"asterisk: {ami.username} at {ami.host} port {ami.port}{', TLS' if ami.tls else ''}{_secret(ami)}",
        f"rules: {rules}",
        f"allow: {_allowed(config)}, and this machine's own addresses",
        f"firewall: {_backend(config)}",
        f"meters: {meters}",
        *([f"supplements: {', '.join(one.name for one in config.supplements)}"] if config.supplements else []),
    ]


def _supplements(config: Config) -> Sequence[str]:
    """Find the supplements, make those that are asked before a ban, and name what is wrong with them."""
    if not config.supplements:
        return ()
    from guard.settings.secretfile import is_credential
    from guard.supplements.catalogue import find, voters

    try:
        find(config.supplements)
        voters(one.read_secrets() for one in config.supplements if not any(map(is_credential, one.files.values())))
    except ConfigError as error:
        return error.mistakes
    return ()


def _secret(ami: Ami) -> str:
    from guard.settings.secretfile import is_credential

    if not ami.is_set_up:
        return " (no secret yet: only logs are read)"
    return " (its secret comes from systemd, unseen from here)" if is_credential(ami.secret_file) else ""


def _backend(config: Config) -> str:
    """Say which backend it will be here, and why if that was not written."""
    from guard.firewall.choice import resolve

    name, why = resolve(config.firewall.backend)
    return name if name == config.firewall.backend else f"{name} ({config.firewall.backend}: {why})"


def _allowed(config: Config) -> int:
    return len(config.allow) + len(config.allow_names)
