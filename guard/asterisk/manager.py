"""What manager.conf and http.conf open: where AMI listens, who may log in from where, and with which rights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from guard.asterisk.conffile import is_true, split_list
from guard.core.address import HOST_LENGTH, Source, covers, host, parse_host, parse_network, parse_source
from guard.errors import AddressError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from guard.asterisk.conffile import Conf, Entry, Section

WRITE_TIMEOUT = 100
"""Milliseconds of `writetimeout` if the user has none."""
RULES_LIMIT = 100
"""Lines of `permit` and `deny` of one user that are looked at."""

_LOOPBACK = (parse_source("127.0.0.0/8"), parse_source("::1"))
_SOMEBODY = (parse_host("198.51.100.7"), parse_host("2001:db8::7"))


class Listener(NamedTuple):
    """A door of Asterisk: what it is, on which address, and the line that says so."""

    what: str
    address: str
    port: str
    place: str

    @property
    def is_loopback(self) -> bool:
        """Tell whether this host alone reaches it."""
        try:
            return _is_ours(parse_host(self.address))
        except AddressError:
            return self.address.lower() == "localhost"

    def __str__(self) -> str:
        address = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.what} on {address}:{self.port}"


class Rule(NamedTuple):
    """A line of `permit` or `deny`; the last that covers an address decides, and with none everybody may come."""

    permit: bool
    source: Source


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """A manager user. `unknown` holds rules that could not be read."""

    name: str
    place: str
    secret: str
    read: frozenset[str]
    write: frozenset[str]
    rules: tuple[Rule, ...]
    unknown: tuple[str, ...]
    write_timeout: int
    filters: tuple[str, ...]
    allow_multiple: bool

    @property
    def hears_security(self) -> bool:
        """Tell whether security events are sent to it."""
        return bool(self.read & {"security", "all"})

    def strangers(self) -> list[Source]:
        """Return hosts elsewhere that may log in as this user, one for each part of its rules."""
        return [one for one in _samples(self.rules) if not _is_ours(one) and _admits(self.rules, one)]

    def admits(self, text: str) -> bool:
        """Tell whether a host may log in as this user."""
        return _admits(self.rules, parse_host(text))


@dataclass(frozen=True, slots=True, kw_only=True)
class Manager:
    """manager.conf. `listeners` is empty where AMI is off; `web` is AMI over Asterisk's web server."""

    enabled: bool
    web: bool
    listeners: tuple[Listener, ...]
    users: tuple[User, ...]

    def user(self, name: str) -> User | None:
        """Return a user by name."""
        return next((user for user in self.users if user.name == name), None)


def read_manager(conf: Conf, acl: Conf | None = None) -> Manager:
    """Read manager.conf; `acl` is acl.conf, whose lists a user can name."""
    general = conf.section("general")
    enabled = is_true(general.get("enabled", "no"))
    listeners = []
    if enabled and not conf.broken:
        address, port, place = _bind(general, "bindaddr", "::", general.get("port", "5038"))
        listeners.append(Listener("AMI", address, port, place))
        if is_true(general.get("tlsenable")):
            listeners.append(Listener("AMI over TLS", *_bind(general, "tlsbindaddr", address, "5039")))
    users: dict[str, User] = {}
    for section in conf.named():
        if section.name.lower() != "general" and section.name not in users:
            users[section.name] = _user(section, acl, default=general.get("allowmultiplelogin", "yes"))
    return Manager(
        enabled=enabled,
        web=is_true(general.get("webenabled")),
        listeners=tuple(listeners),
        users=tuple(users.values()),
    )


def read_http(conf: Conf) -> list[Listener]:
    """Read where Asterisk's web server listens; it has no address of its own accord."""
    general = conf.section("general")
    address, port, place = _bind(general, "bindaddr", "", general.get("bindport", "8088"))
    listeners = []
    if conf.broken:
        return []
    if is_true(general.get("enabled")) and address:
        listeners.append(Listener("HTTP", address, port, place))
    if is_true(general.get("tlsenable")):
        secure = _bind(general, "tlsbindaddr", address, "8089")
        listeners += [Listener("HTTPS", *secure)] if secure[0] else []
    return listeners


def open_web(manager: Manager, http: Iterable[Listener]) -> list[Listener]:
    """Return the doors through which strangers reach AMI over HTTP, and with it can forge whole events."""
    if not (manager.enabled and manager.web):
        return []
    return [listener for listener in http if not listener.is_loopback]


def _bind(section: Section, name: str, otherwise: str, port: str) -> tuple[str, str, str]:
    """Read `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`."""
    entry = section.find(name)
    text = entry.value if entry else otherwise
    if text.startswith("["):
        address, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif text.count(":") == 1:
        address, _, port = text.partition(":")
    else:
        address = text
    return address, port, entry.place if entry else section.place


def _user(section: Section, acl: Conf | None, default: str) -> User:
    rules, unknown = _rules(section.all("permit", "deny", "acl"), acl)
    timeout = section.get("writetimeout", str(WRITE_TIMEOUT))
    return User(
        name=section.name,
        place=section.place,
        secret=section.get("secret"),
        read=_rights(section.get("read")),
        write=_rights(section.get("write")),
        rules=rules,
        unknown=unknown,
        # Asterisk takes 100 and less for its default.
        write_timeout=max(int(timeout) if timeout.isdecimal() and len(timeout) < 10 else 0, WRITE_TIMEOUT),
        filters=tuple(f"{entry.name} = {entry.value}" for entry in section.entries if _is_filter(entry)),
        allow_multiple=is_true(section.get("allowmultiplelogin", default)),
    )


def _is_filter(entry: Entry) -> bool:
    return entry.name.lower().startswith("eventfilter")


def _rights(text: str) -> frozenset[str]:
    words = frozenset(word.strip().lower() for word in text.split(",") if word.strip())
    if words & {"yes", "true", "y", "t", "on", "-1"}:  # strings_to_mask()
        return frozenset({"all"})
    return words - {"no", "false", "n", "f", "off", "0", "none"}


def _rules(entries: Iterable[Entry], acl: Conf | None, depth: int = 0) -> tuple[tuple[Rule, ...], tuple[str, ...]]:
    rules: list[Rule] = []
    unknown: list[str] = []
    for entry in split_list(entries):
        kind = entry.name.lower()
        if kind == "acl":
            named = acl.section(entry.value.lower()) if acl and not depth else None
            inner, odd = (
                _rules(named.all("permit", "deny"), None, 1) if named and named.entries else ((), (entry.value,))
            )
            rules += inner
            unknown += odd
            continue
        negated = entry.value.startswith("!")
        source = _network(entry.value.removeprefix("!"))
        if source is None or len(rules) >= RULES_LIMIT:
            unknown.append(entry.value)
        else:
            rules.append(Rule((kind == "permit") != negated, source))
    return tuple(rules), tuple(unknown)


def _network(text: str) -> Source | None:
    try:
        return parse_network(text.strip())
    except AddressError:
        return None


def _admits(rules: Iterable[Rule], one: Source) -> bool:
    allowed = True
    for rule in rules:
        if covers(rule.source, one):
            allowed = rule.permit
    return allowed


def _is_ours(one: Source) -> bool:
    return any(covers(network, one) for network in _LOOPBACK)


def _samples(rules: Iterable[Rule]) -> Iterator[Source]:
    """Give a host of each part into which the rules cut the world: what they say changes at their edges only."""
    yield from _SOMEBODY
    for rule in rules:
        bits = HOST_LENGTH[rule.source[0]]
        first = int.from_bytes(rule.source[2:], "big")
        last = first | (1 << bits - rule.source[1]) - 1
        for number in (first, last, first - 1, last + 1):
            if 0 <= number < 1 << bits:
                yield host(number.to_bytes(bits // 8, "big"))
