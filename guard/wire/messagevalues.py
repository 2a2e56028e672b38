"""The values in a line of the `messages` log: addresses, accounts, Call-IDs. The last two are the sender's text."""

from __future__ import annotations

import codecs
from functools import lru_cache

from guard.core.address import Source, parse_host
from guard.errors import AddressError

SESSION_LIMIT = 255
"""Bytes of a Call-ID that are kept: what Asterisk's buffer holds where pjproject is the system's; its own holds 511."""
ACCOUNT_LIMIT = 80
"""Characters of an account, or of a dialled extension, that are kept."""

IP = rb"(\d{1,3}(?:\.\d{1,3}){3}|[0-9a-fA-F:.]{2,45}(?:%[\w.-]{1,15})?)"
"""An address as ast_sockaddr_stringify_addr() writes it."""
PEER = rb"((?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.]{2,45}(?:%[\w.-]{1,15})?\]):\d{1,5})"
"""An address with its port as Asterisk and pj_sockaddr_print() write it; one of IPv6 stands in brackets."""


@lru_cache(maxsize=32_768)
def read_host(text: bytes) -> Source | None:
    """Read an IP; None if it is none."""
    try:
        return parse_host(text.decode("ascii"))
    except AddressError:
        return None


@lru_cache(maxsize=32_768)
def read_peer(text: bytes) -> Source | None:
    """Read a PEER, whose port is checked and dropped; None if it is none."""
    address, _, port = text.rpartition(b":")
    return read_host(address.strip(b"[]")) if int(port) <= 65_535 else None


def readable(text: bytes) -> str:
    r"""Make text of bytes; what is no UTF-8 is written as \xNN."""
    try:
        return text.decode()
    except UnicodeDecodeError:
        return text.decode(errors="backslashreplace")


def read_account(text: bytes) -> str:
    """Make an account of bytes, cut to its limit."""
    return readable(text[: 4 * ACCOUNT_LIMIT])[:ACCOUNT_LIMIT]


def read_session(call_id: bytes) -> str:
    r"""Make a session of a Call-ID: its first 255 bytes, without a character that the cut went through.

    So it is the same text as the cut Call-ID of AMI, whatever the length of Asterisk's own buffer.
    """
    if len(call_id) < SESSION_LIMIT:
        return readable(call_id)
    return codecs.getincrementaldecoder("utf-8")("backslashreplace").decode(call_id[:SESSION_LIMIT])


def read_user(uri: bytes) -> str:
    """Read the user of a URI, `sip:USER[:password]@host`; for tel: the number; nothing if it has none."""
    scheme, colon, rest = uri.partition(b":")
    user, at, _ = rest.rpartition(b"@")
    if at:
        return read_account(user.partition(b":")[0])
    return read_account(rest.partition(b";")[0]) if colon and scheme.lower() == b"tel" else ""
