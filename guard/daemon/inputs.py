"""All that the daemon reads from files: configuration, rules, secret, certificate. Read whole, or not at all."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, NamedTuple

from guard.asterisk.loggerconf import find_logs
from guard.errors import ConfigError
from guard.sensors.amilink import Endpoint
from guard.settings.config import Config, load_config, rules_of
from guard.settings.rulefile import RuleSet, load_rules
from guard.supplements.catalogue import find, voters

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping
    from pathlib import Path

    from guard.settings.supplements import Wanted


class Inputs(NamedTuple):
    """What was read. `link` tells endpoints apart, with secret and certificate, `logs` what logger.conf says.

    `token` lets somebody ask over TCP.
    `supplements` have their secrets with them, and `voters` are those of them that are asked before a ban.
    """

    config: Config
    ruleset: RuleSet
    endpoint: Endpoint
    link: Hashable
    logs: object
    token: str | None = None
    supplements: tuple[Wanted, ...] = ()
    voters: tuple[tuple[str, object], ...] = ()


def read_inputs(path: Path) -> Inputs:
    """Read everything that a configuration names; ConfigError has the mistakes of all files."""
    mistakes: list[str] = []
    config = None
    try:
        config = load_config(path)
    except ConfigError as error:
        mistakes += error.mistakes
    except OSError as error:  # the folder may not be entered
        mistakes.append(f"{path}:1:1: cannot be read: {error.strerror}")
    ruleset = None
    try:
        ruleset = load_rules(rules_of(path) if config is None else config.rules)
    except ConfigError as error:
        mistakes += error.mistakes
    found = None
    if config is not None and ruleset is not None:
        try:
            found = prepare(config, ruleset)
        except ConfigError as error:
            mistakes += error.mistakes
    if mistakes or found is None:
        raise ConfigError(mistakes)
    return found


def prepare(config: Config, ruleset: RuleSet) -> Inputs:
    """Read what the configuration only names: secret, certificate, logger.conf. ConfigError if that cannot be."""
    endpoint, certificate = _endpoint(config)
    ami = config.ami
    link = (ami.host, ami.port, ami.username, endpoint.secret, ami.tls, ami.tls_verify, certificate)
    token = None if config.api is None else config.api.read_token()
    supplements = tuple(one.read_secrets() for one in config.supplements)
    find(supplements)
    logs, asked = find_logs(config.logs.logger_conf), tuple(voters(supplements))
    return Inputs(config, ruleset, endpoint, link, logs, token, supplements, asked)


def changes(old: Inputs, new: Inputs) -> list[str]:
    """Name what differs and can be taken while running."""
    return [key for key, read in _TAKEN.items() if read(old) != read(new)]


def changes_for_later(old: Inputs, new: Inputs) -> list[str]:
    """Name what differs and holds from the next start on: what others know us by, and where bans are kept."""
    return [key for key, read in _AT_START.items() if read(old) != read(new)]


def _endpoint(config: Config) -> tuple[Endpoint, bytes]:
    ami, context, certificate = config.ami, None, b""
    if ami.tls:
        try:
            context = ssl.create_default_context(cafile=None if ami.tls_ca is None else str(ami.tls_ca))
            certificate = b"" if ami.tls_ca is None else ami.tls_ca.read_bytes()
        except (OSError, ssl.SSLError) as error:
            raise ConfigError([f"{ami.place}: ami.tls_ca: {ami.tls_ca} holds no certificate ({error})"]) from None
        if not ami.tls_verify:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return Endpoint(ami.host, ami.port, ami.username, config.read_secret(), context), certificate


_TAKEN: Mapping[str, Callable[[Inputs], object]] = {
    "mode": lambda read: read.config.mode,
    "rules": lambda read: (read.ruleset.rules, read.ruleset.sources),
    "allow": lambda read: (
        {entry.source for entry in read.config.allow},
        {entry.name for entry in read.config.allow_names},
    ),
    "ami": lambda read: read.link,
    "logs": lambda read: (read.config.logs, read.logs),
    "firewall.sip_ports": lambda read: sorted(read.config.firewall.sip_ports),
    "firewall.slow_rate": lambda read: read.config.firewall.slow_rate,
    "unproven_max": lambda read: read.config.unproven_max,
    "statsd": lambda read: read.config.statsd,
    "supplements": lambda read: read.supplements,
}
_AT_START: Mapping[str, Callable[[Inputs], object]] = {
    "firewall.backend": lambda read: read.config.firewall.backend,
    "firewall.bans_max": lambda read: read.config.firewall.bans_max,
    "state": lambda read: read.config.state,
    "metrics": lambda read: read.config.metrics,
    "api": lambda read: (read.config.api, read.token),
    "control": lambda read: (read.config.control, read.config.control_changes),
}
