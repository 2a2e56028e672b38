"""astguard.yaml: one file, and everything in it has a default. An empty file is a valid one.

Relative paths are relative to the folder of the file. The secret never appears in a repr or an error.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from guard.core.address import covers, parse_host, parse_source
from guard.core.ledger import CAPACITY
from guard.core.rule import SIP_PORTS, Mode
from guard.core.units import DAY, HOUR, MINUTE, Duration
from guard.errors import AddressError, ConfigError
from guard.settings.allowlist import AllowedName, AllowedSource, allowed
from guard.settings.api import Api, read_api
from guard.settings.logs import LOGS_KEYS, Logs, read_logs
from guard.settings.mistakes import Mistakes, Place
from guard.settings.rulefile import Folder, stock_rules_folder
from guard.settings.secretfile import read_secret_file, secret_path, secret_text
from guard.settings.supplements import Wanted, read_supplements
from guard.settings.table import Table, choice, duration, whole, yes_or_no
from guard.settings.values import host, own_address, path_in, prefix, socket_in, username
from guard.settings.yamlfile import Mapping, Node, parse, read

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = Path("/etc/astguard/astguard.yaml")
LOCAL_RULES = Path("/etc/astguard/rules")

_KEYS = (
    "mode",
    "ami",
    "logs",
    "firewall",
    "allow",
    "rules",
    "unproven_max",
    "statsd",
    "metrics",
    "api",
    "state",
    "control",
    "control_changes",
    "supplements",
)
_AMI_KEYS = ("host", "port", "tls", "tls_ca", "username", "secret", "secret_file")
BANS_LIMIT = 4_000_000
"""A million bans were measured to take 8 s at a start (docs/performance.md); a set of this size is for who must."""
_NOWHERE = Place(str(DEFAULT_PATH))
_LOOPBACK = (parse_source("127.0.0.0/8"), parse_source("::1"))


class Backend(StrEnum):
    """Who keeps the bans; `auto` looks at what the host uses and says why it chose."""

    AUTO = "auto"
    NFTABLES = "nftables"
    IPTABLES = "iptables"
    MEMORY = "memory"


class Changers(StrEnum):
    """Who of those that may open the control socket may change anything there."""

    ALL = "all"
    ROOT = "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ami:
    """How to reach Asterisk's manager interface."""

    host: str = "127.0.0.1"
    port: int = 5038
    tls: bool = False
    tls_ca: Path | None = None
    username: str = "astguard"
    secret: str | None = field(default=None, repr=False)
    secret_file: Path | None = None
    place: Place = _NOWHERE

    @property
    def is_set_up(self) -> bool:
        """Whether a secret is named, so that there is somebody to log in as."""
        return self.secret is not None or self.secret_file is not None

    def read_secret(self) -> str:
        """Return the secret, from its file if it has one; ConfigError says what to do if there is none."""
        if self.secret is not None:
            return self.secret
        if self.secret_file is None:
            raise ConfigError(
                [f"{self.place}: 'ami' has no secret; put it into a file and name that, 'secret_file: ami.secret'"]
            )
        return read_secret_file(self.secret_file)

    @property
    def tls_verify(self) -> bool:
        """Whether the server's certificate is checked: always but on loopback without `tls_ca`."""
        try:
            host = parse_host(self.host)
            loopback = any(covers(network, host) for network in _LOOPBACK)
        except AddressError:
            loopback = self.host == "localhost"
        return self.tls and not (loopback and self.tls_ca is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Firewall:
    """Where bans are kept, the ports that a ban of scope `sip` closes, and the packets per second `slow` lets by.

    `bans_max` is how many bans one set holds: those of one scope, family and prefix length.
    """

    backend: Backend = Backend.AUTO
    sip_ports: tuple[int, ...] = SIP_PORTS
    slow_rate: int = 5
    bans_max: int = CAPACITY


@dataclass(frozen=True, slots=True, kw_only=True)
class Statsd:
    """Where meters go, over UDP."""

    host: str = "127.0.0.1"
    port: int = 8125
    prefix: str = ""
    meter_support: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    """Where Prometheus may scrape over TCP; the control socket always answers it."""

    address: str = "127.0.0.1"
    port: int = 9877


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All of astguard.yaml. `statsd` None means that no meters are sent, `metrics` None that no TCP port is scraped.

    `api` None means that the control API is served on its socket alone.
    `unproven_max` is how long a ban may last at most if nothing proves that the sender owns its address.
    """

    mode: Mode = Mode.ENFORCE
    ami: Ami = field(default_factory=Ami)
    logs: Logs = field(default_factory=Logs)
    firewall: Firewall = field(default_factory=Firewall)
    allow: tuple[AllowedSource, ...] = ()
    allow_names: tuple[AllowedName, ...] = ()
    rules: tuple[Folder, ...] = field(default_factory=lambda: (Folder(stock_rules_folder()), Folder(LOCAL_RULES)))
    unproven_max: Duration = HOUR
    statsd: Statsd | None = None
    metrics: Metrics | None = None
    api: Api | None = None
    state: Path = Path("/var/lib/astguard/astguard.db")
    control: Path = Path("/run/astguard/astguard.sock")
    control_changes: Changers = Changers.ALL
    supplements: tuple[Wanted, ...] = ()

    def read_secret(self) -> str | None:
        """Return the AMI secret; None if there is none yet and nobody is banned anyway, as after an installation."""
        return self.ami.read_secret() if self.ami.is_set_up or self.mode is not Mode.OBSERVE else None


def load_config(path: Path = DEFAULT_PATH) -> Config:
    """Read a configuration file; ConfigError with all its mistakes, or if there is none."""
    mistakes = Mistakes()
    missing = "no such file; make it, an empty one means the defaults"
    config = _config(read(path, mistakes, missing), path, mistakes)
    mistakes.check()
    return config


def parse_config(data: bytes, path: Path = DEFAULT_PATH) -> Config:
    """Read the bytes of a configuration file as if they stood in `path`; ConfigError with all their mistakes."""
    mistakes = Mistakes()
    config = _config(parse(data, str(path), mistakes), path, mistakes)
    mistakes.check()
    return config


def rules_of(path: Path) -> tuple[Folder, ...]:
    """Return the folders of rules of a file whatever else is wrong in it; none where that makes them unknown."""
    mistakes = Mistakes()
    node = read(path, mistakes)
    if node is None or len(mistakes):
        return ()
    table = Table(node, mistakes, _KEYS)
    named = tuple(Folder(*folder) for folder in table.many("rules", path_in(path.parent)))
    if "rules" not in table:
        return Config().rules
    return named if table.sound("rules") else ()


def _config(node: Node | None, path: Path, mistakes: Mistakes) -> Config:
    table = Table(node or Mapping(Place(str(path))), mistakes, _KEYS)
    usual = Config()
    file_path = path_in(path.parent)
    sources, names = _allow(table)
    return Config(
        mode=table.one("mode", choice("a mode", {mode.value: mode for mode in Mode}), usual.mode),
        ami=_ami(table.table("ami", _AMI_KEYS), file_path),
        logs=read_logs(table.table("logs", LOGS_KEYS), file_path),
        firewall=_firewall(table.table("firewall", ("backend", "sip_ports", "slow_rate", "bans_max"))),
        allow=sources,
        allow_names=names,
        rules=tuple(Folder(*folder) for folder in table.many("rules", file_path)) or usual.rules,
        unproven_max=table.one("unproven_max", duration(MINUTE, DAY), usual.unproven_max),
        statsd=_statsd(table) if "statsd" in table else None,
        metrics=_metrics(table) if "metrics" in table else None,
        api=read_api(table, file_path),
        state=table.one("state", file_path, usual.state),
        control=table.one("control", socket_in(file_path), usual.control),
        control_changes=table.one("control_changes", _changers, usual.control_changes),
        supplements=read_supplements(table, file_path),
    )


def _ami(table: Table, file_path: Callable[[str], Path]) -> Ami:
    usual = Ami()
    tls = table.one("tls", yes_or_no, usual.tls)
    if "secret" in table and "secret_file" in table:
        table.wrong(table.where("secret_file"), "'secret' and 'secret_file' are both given; keep 'secret_file'")
    if "tls_ca" in table and not tls and table.sound("tls"):
        table.wrong(table.where("tls_ca"), "'tls_ca' has no use without 'tls: yes'")
    return Ami(
        host=table.one("host", host, usual.host),
        port=table.one("port", _port, 5039 if tls else usual.port),
        tls=tls,
        tls_ca=table.one("tls_ca", file_path, None),
        username=table.one("username", username, usual.username),
        secret=table.one("secret", secret_text, None),
        secret_file=table.one("secret_file", secret_path(file_path), None),
        place=table.place,
    )


def _firewall(table: Table) -> Firewall:
    usual = Firewall()
    return Firewall(
        backend=table.one("backend", _backend, usual.backend),
        sip_ports=tuple(port.value for port in table.many("sip_ports", _port)) or usual.sip_ports,
        slow_rate=table.one("slow_rate", whole(1, 1000), usual.slow_rate),
        bans_max=table.one("bans_max", whole(1_000, BANS_LIMIT), usual.bans_max),
    )


def _statsd(config: Table) -> Statsd:
    table = config.table("statsd", ("host", "port", "prefix", "meter_support"))
    usual = Statsd()
    return Statsd(
        host=table.one("host", host, usual.host),
        port=table.one("port", _port, usual.port),
        prefix=table.one("prefix", prefix, usual.prefix),
        meter_support=table.one("meter_support", yes_or_no, usual.meter_support),
    )


def _metrics(config: Table) -> Metrics:
    table = config.table("metrics", ("address", "port"))
    usual = Metrics()
    return Metrics(address=table.one("address", own_address, usual.address), port=table.one("port", _port, usual.port))


def _allow(table: Table) -> tuple[tuple[AllowedSource, ...], tuple[AllowedName, ...]]:
    sources: list[AllowedSource] = []
    names: list[AllowedName] = []
    for value, place in table.many("allow", allowed, repeats=True, empty=True):
        if isinstance(value, str):
            names.append(AllowedName(value, place))
        else:
            sources.append(AllowedSource(value, place))
    return tuple(sources), tuple(names)


_changers = choice("who may change", {who.value: who for who in Changers})
_port = whole(1, 65535)
_backend = choice("a backend", {kind.value: kind for kind in Backend})
