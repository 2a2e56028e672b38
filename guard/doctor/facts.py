"""All that is asked of this host before the checks judge it: they read these facts and nothing else."""

from __future__ import annotations

import contextlib
import secrets
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from guard.asterisk.folder import read_folder_conf
from guard.asterisk.loggerconf import Found, date_format, find_logs
from guard.asterisk.manager import Listener, Manager, read_http, read_manager
from guard.asterisk.telephony import Trunk, has_anonymous, identify_order, trunks
from guard.core.address import Source, parse_host
from guard.doctor.senders import Senders, read_senders
from guard.errors import ConfigError, HostError
from guard.host.access import Account, missing_group, service_account, why_unreadable
from guard.host.amiprobe import Heard, hear_own_login
from guard.host.fail2ban import fail2ban_asterisk
from guard.host.machine import Ruleset, enabled_services, flushes_all, legacy_tables, read_ruleset
from guard.host.place import Place, find_asterisk
from guard.settings.config import Config

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

NAMES_LIMIT = 32
NAMES_SECONDS = 5.0
"""Names of trunks that are looked up, and how long all of them may take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known. `place` None: no Asterisk here. `status` None: no daemon answers, `no_status` says why."""

    config: Config = field(default_factory=Config)
    config_problem: str = ""
    place: Place | None = None
    no_place: str = ""
    status: Mapping[str, Any] | None = None
    no_status: str = ""
    allowed: tuple[Source, ...] = ()
    heard: Heard | None = None
    not_heard: str = ""
    manager: Manager = field(default_factory=lambda: Manager(enabled=False, web=False, listeners=(), users=()))
    manager_problem: str = ""
    http: tuple[Listener, ...] = ()
    trunks: tuple[Trunk, ...] = ()
    addresses: Mapping[str, frozenset[Source]] = field(default_factory=dict)
    anonymous: str = ""
    identify_order: tuple[str, ...] = ()
    chan_sip: bool = False
    unread: tuple[str, ...] = ()
    """Parts of Asterisk's configuration that could not be looked at."""
    logs: Found = field(default_factory=lambda: Found(None, None))
    messages: tuple[Path, ...] = ()
    date_format: str = ""
    account: Account = field(default_factory=lambda: Account("root", 0, frozenset()))
    missing_group: bool = False
    unreadable: Mapping[Path, str] = field(default_factory=dict)
    senders: Senders = field(default_factory=Senders)
    services: frozenset[str] = frozenset()
    legacy: frozenset[str] = frozenset()
    ruleset: Ruleset | None = None
    flushes_all: bool = False
    fail2ban: tuple[str, ...] = ()


def gather(
    config: Config,
    config_problem: str,
    status: Mapping[str, Any] | None,
    no_status: str,
    allowed: Iterable[Source] | None,
    asterisk_conf: Path | None,
) -> Facts:
    """Look at this host. `allowed` is the daemon's allowlist; without it the configuration's has to do."""
    known: dict[str, Any] = {
        "config": config,
        "config_problem": config_problem,
        "status": status,
        "no_status": no_status,
    }
    known |= _of_the_machine()
    if status is None and not config_problem:
        known |= _hear(config)
    known["account"] = service_account((status or {}).get("pid"))
    known["missing_group"] = missing_group()
    try:
        place = find_asterisk(asterisk_conf)
    except HostError as error:
        known["no_place"] = str(error)
        return Facts(**known)
    known |= {"place": place, **of_asterisk(place)}
    logger_conf = config.logs.logger_conf
    if not logger_conf.exists():
        logger_conf = place.etc / "logger.conf"
    found = find_logs(logger_conf)
    messages = config.logs.messages if config.logs.messages is not None else (found.messages,) if found.messages else ()
    read = (*messages, *(config.logs.security or ((found.security,) if found.security else ())))
    problems = {path: why_unreadable(path, known["account"]) for path in read}
    known |= {
        "logs": found,
        "messages": messages,
        "date_format": date_format(logger_conf),
        "unreadable": {path: why for path, why in problems.items() if why},
        "senders": read_senders(messages, [path for path in read if path not in messages]),
    }
    names = [trunk.peer for trunk in known["trunks"] if trunk.is_name] + [entry.name for entry in config.allow_names]
    known["addresses"] = look_up(names)
    known["allowed"] = tuple(allowed if allowed is not None else _configured(config, known["addresses"]))
    return Facts(**known)


def of_asterisk(place: Place) -> dict[str, Any]:
    """Read what Asterisk's files say."""
    names = ("manager", "acl", "http", "pjsip", "pjsip_wizard", "sip", "iax", "modules")
    confs = {name: read_folder_conf(place.etc / f"{name}.conf") for name in names}
    manager, pjsip = confs["manager"], confs["pjsip"]
    problem = manager.broken or ("" if manager.exists else f"there is no {place.etc / 'manager.conf'}")
    return {
        "manager": read_manager(manager, confs["acl"]),
        "manager_problem": problem,
        "http": tuple(read_http(confs["http"])),
        "trunks": tuple(trunks(pjsip, confs["pjsip_wizard"], confs["sip"], confs["iax"])),
        "anonymous": has_anonymous(pjsip),
        "identify_order": identify_order(pjsip),
        "chan_sip": confs["sip"].exists and _is_loaded(place, "chan_sip.so"),
        "unread": tuple(text for conf in confs.values() for text in (*conf.notes, *filter(None, [conf.broken]))),
    }


def look_up(names: Sequence[str]) -> dict[str, frozenset[Source]]:
    """Look names up side by side; one that has no answer in time is left out, and nobody waits for it at the end."""
    found: dict[str, frozenset[Source]] = {}

    def ask(name: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            found[name] = frozenset(parse_host(str(answer[4][0])) for answer in socket.getaddrinfo(name, None))

    # A pool of threads would be waited for when the program ends, and a resolver can take minutes.
    asked = [
        threading.Thread(target=ask, args=(name,), daemon=True) for name in list(dict.fromkeys(names))[:NAMES_LIMIT]
    ]
    for thread in asked:
        thread.start()
    deadline = time.monotonic() + NAMES_SECONDS
    for thread in asked:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(found)


def _of_the_machine() -> dict[str, Any]:
    return {
        "services": enabled_services(),
        "legacy": legacy_tables(),
        "ruleset": read_ruleset(),
        "flushes_all": flushes_all(),
        "fail2ban": fail2ban_asterisk(),
    }


def _hear(config: Config) -> dict[str, Any]:
    """Without a daemon, try the login ourselves."""
    ami, context = config.ami, None
    try:
        if ami.tls:
            context = ssl.create_default_context(cafile=None if ami.tls_ca is None else str(ami.tls_ca))
            if not ami.tls_verify:
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        heard = hear_own_login(
            ami.host, ami.port, ami.username, ami.read_secret(), token=secrets.token_hex(8), tls=context
        )
    except (HostError, ConfigError, OSError) as error:
        return {"not_heard": str(error)}
    return {"heard": heard}


def _configured(config: Config, addresses: Mapping[str, frozenset[Source]]) -> Iterable[Source]:
    yield from (entry.source for entry in config.allow)
    for entry in config.allow_names:
        yield from addresses.get(entry.name, ())


def _is_loaded(place: Place, module: str) -> bool:
    """Tell whether Asterisk loads a module: it has it, and modules.conf loads it or does not keep it out."""
    if place.modules is None or not (place.modules / module).exists():
        return False
    section = read_folder_conf(place.etc / "modules.conf").section("modules")
    named = {entry.value.removesuffix(".so") for entry in section.all("load", "preload", "require", "preload-require")}
    kept_out = {entry.value.removesuffix(".so") for entry in section.all("noload")}
    bare = module.removesuffix(".so")
    return bare not in kept_out and (
        bare in named or section.get("autoload", "yes").lower() not in ("no", "false", "off")
    )
