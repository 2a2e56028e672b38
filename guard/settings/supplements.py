"""The section `supplements` of astguard.yaml: which ones are loaded, in which order, with which options.

An option whose name ends in `_file` is a file with a secret in it: the guard reads it, and hands it over without that
ending, because a supplement itself may not read in /etc/astguard.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from guard.errors import ConfigError
from guard.settings.mistakes import Place
from guard.settings.secretfile import read_secret_file, secret_path
from guard.settings.table import choice, whole, yes_or_no
from guard.settings.values import host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from guard.settings.table import Table

SUPPLEMENTS_LIMIT = 16
OPTIONS_LIMIT = 32
VALUE_LIMIT = 2_048
"""Characters of an option: the address of a Teams workflow has some 300."""
PRIORITY = 100
_FILE = "_file"
_KEYS = ("name", "priority", "before_ban", "options")
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_ADDRESS = re.compile(r"[A-Za-z0-9._%+=-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?|[a-z_][a-z0-9_-]{0,31}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One supplement. Those of a lower `priority` come first; `before_ban`: it is trusted to be asked before a ban.

    `files` are options that `read_secrets` turns into plain ones; no repr shows a value.
    """

    name: str
    place: Place = field(compare=False)
    priority: int = PRIORITY
    before_ban: bool = False
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    files: Mapping[str, Path] = field(default_factory=dict)

    def read_secrets(self) -> Wanted:
        """Return it with the contents of its files among the options; ConfigError names the file and the remedy."""
        read = {key: read_secret_file(path, f"the {key}", VALUE_LIMIT) for key, path in self.files.items()}
        for key in read.keys() & _SECRETS.keys() if self.name in _SCHEMAS else ():
            try:
                _SECRETS[key](read[key])
            except ValueError as error:
                raise ConfigError([f"{Place(str(self.files[key]))}: {error}"]) from None
        return Wanted(
            name=self.name, place=self.place, priority=self.priority, before_ban=self.before_ban,
            options={**self.options, **read},
        )  # fmt: skip


def read_supplements(config: Table, file_path: Callable[[str], Path]) -> tuple[Wanted, ...]:
    """Read the section; `file_path` makes a path of a text."""
    found: dict[str, Wanted] = {}
    for table in config.tables("supplements", _KEYS, ("name",)):
        name = table.one("name", _name, "")
        where = table.where("name")
        if not name:
            continue
        if name in found:
            table.wrong(where, f"{name!r} is given twice")
        elif len(found) == SUPPLEMENTS_LIMIT:
            table.wrong(where, f"there are more than {SUPPLEMENTS_LIMIT} supplements")
        options, files = _options(table, name, file_path)
        found[name] = Wanted(
            name=name, place=where, priority=table.one("priority", whole(0, 1_000), PRIORITY),
            before_ban=table.one("before_ban", yes_or_no, False), options=options, files=files,
        )  # fmt: skip
    return tuple(found.values())


def _options(table: Table, name: str, file_path: Callable[[str], Path]) -> tuple[dict[str, str], dict[str, Path]]:
    schema = _SCHEMAS.get(name)
    if schema is not None:
        readers, required = schema
        options = table.table("options", [*readers, *(f"{key}{_FILE}" for key in _SECRETS if key in readers)])
        for key in required:
            if key not in options and f"{key}{_FILE}" not in options:
                table.wrong(options.place, f"{name!r} needs the option {key!r}")
        values = {key: options.one(key, read, "") for key, read in readers.items() if key in options}
        keys = [key for key in _SECRETS if f"{key}{_FILE}" in options]
        files = {key: options.one(f"{key}{_FILE}", secret_path(file_path), file_path(".")) for key in keys}
    elif table.is_mapping("options"):
        given = table.pairs("options", _key, _value, "")
        if len(given) > OPTIONS_LIMIT:
            table.wrong(table.where("options"), f"there are more than {OPTIONS_LIMIT} options")
        values = {key: value.value for key, value in given.items() if not key.endswith(_FILE)}
        files = {
            key.removesuffix(_FILE): secret_path(file_path)(value.value)
            for key, value in given.items()
            if key.endswith(_FILE) and value.value
        }
    else:
        if "options" in table:
            table.wrong(table.where("options"), "expected lines of 'key: value'")
        values, files = {}, {}
    for key in values.keys() & files.keys():
        table.wrong(table.where("options"), f"{key!r} and '{key}{_FILE}' are both given; keep the file")
    return values, files


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not the name of a supplement; it has small letters, digits, '_' and '-'")
    return text


def _key(text: str) -> str:
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", text):
        raise ValueError(f"{text!r} is not the name of an option; it has small letters, digits and '_'")
    return text


def _value(text: str) -> str:
    if len(text) > VALUE_LIMIT or not text.isprintable():
        raise ValueError(f"an option is one line of at most {VALUE_LIMIT} characters")
    return text


def url(text: str) -> str:
    """Check the address of a web server; ValueError does not quote it, because there is mostly a secret in it."""
    try:
        parts = urlsplit(_value(text))
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        sound = False
    if not sound or not text.isascii() or " " in text or "@" in parts.netloc:
        raise ValueError("expected an address such as https://hooks.example.org/T1/B2, without user and password")
    return text


def _mail_address(text: str) -> str:
    if not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text!r} is not a mail address")
    return text


def _mail_addresses(text: str) -> str:
    for address in text.split(","):
        _mail_address(address.strip())
    return text


def _token(text: str) -> str:
    if not text or len(text) > VALUE_LIMIT or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is one word of plain letters, digits and signs")
    return text


def _as_text(read: Callable[[str], object]) -> Callable[[str], str]:
    def check(text: str) -> str:
        read(text)
        return text

    return check


def _switch(text: str) -> str:
    return "yes" if yes_or_no(text) else "no"


_format = choice("a format", {name: name for name in ("json", "slack", "teams", "ntfy", "gotify")})
_SECRETS = {"url": url, "token": _token}
_SCHEMAS: Mapping[str, tuple[Mapping[str, Callable[[str], str]], tuple[str, ...]]] = {
    "webhook": ({"url": url, "format": _format, "token": _token, "bans": _switch}, ("url",)),
    "mail": (
        {
            "to": _mail_addresses, "from": _mail_address, "server": host, "port": _as_text(whole(1, 65535)),
            "bans": _switch,
        },
        ("to",),
    ),
}  # fmt: skip
