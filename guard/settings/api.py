"""The control API over TCP: where it listens, always on loopback, and the token that lets somebody in."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from guard.core.address import covers, parse_host, parse_source
from guard.errors import AddressError, ConfigError
from guard.settings.mistakes import Place
from guard.settings.secretfile import read_secret_file, secret_path
from guard.settings.table import whole

if TYPE_CHECKING:
    from collections.abc import Callable

    from guard.settings.table import Table

API_KEYS = ("address", "port", "token_file")
SHORTEST = 32
"""Characters of a token: 16 random bytes in hexadecimal, which nobody guesses over a network."""
_LOOPBACK = (parse_source("127.0.0.0/8"), parse_source("::1"))
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # what may stand behind `Bearer` (RFC 6750, section 2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Api:
    """Where programs may ask over TCP, and the file of the token that they have to show."""

    address: str = "127.0.0.1"
    port: int = 9876
    token_file: Path = Path("/etc/astguard/api.token")

    def read_token(self) -> str:
        """Return the token; ConfigError if there is none that can be kept secret and is hard to guess."""
        token = read_secret_file(self.token_file, "a token (openssl rand -hex 32)")
        if len(token) < SHORTEST or not _TOKEN.fullmatch(token):
            reason = f"a token has at least {SHORTEST} letters, digits and ._~+/=-; make one: openssl rand -hex 32"
            raise ConfigError([f"{Place(str(self.token_file))}: {reason}"])
        return token


def read_api(config: Table, file_path: Callable[[str], Path]) -> Api | None:
    """Read the section `api`; None if there is none."""
    if "api" not in config:
        return None
    table, usual = config.table("api", API_KEYS), Api()
    return Api(
        address=table.one("address", loopback_address, usual.address),
        port=table.one("port", whole(1, 65535), usual.port),
        token_file=table.one("token_file", secret_path(file_path), file_path("api.token")),
    )


def loopback_address(text: str) -> str:
    """Read an address of loopback to listen on."""
    try:
        found = parse_host(text)
    except AddressError:
        found = parse_host("0.0.0.0")  # noqa: S104 - stands for what is no loopback
    if not any(covers(network, found) for network in _LOOPBACK):
        raise ValueError(
            f"{text!r} is not an address of loopback, such as 127.0.0.1 or ::1; from elsewhere come through ssh -L, "
            "so that the token does not cross the network"
        )
    return text
