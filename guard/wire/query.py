"""The query of a request's target, `?kind=ban,alarm&address=198.51.100.0%2F24`: known keys, each once, plain values.

urllib.parse takes 4 ms to import, and the command line has 50 for everything.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

QUERY_LIMIT = 2_000
"""Characters of a query; the longest real one, with every word of each list, has 300."""

_PAIR = re.compile(r"([a-z_]{1,20})=((?:[0-9A-Za-z._~:/,+-]|%[0-9A-Fa-f]{2})+)")
_CODE = re.compile(r"%([0-9A-Fa-f]{2})")
_OTHER = re.compile(r"[^0-9A-Za-z._~:/,-]")


def read_query(text: str, known: Collection[str]) -> dict[str, str]:
    """Return the values by key; ValueError for another key, one given twice, or what is no query."""
    found: dict[str, str] = {}
    if len(text) > QUERY_LIMIT:
        raise ValueError(f"the query has {len(text)} characters, at most {QUERY_LIMIT} are read")
    for pair in text.split("&") if text else ():
        match = _PAIR.fullmatch(pair)
        if not match or match[1] not in known:
            raise ValueError(f"{pair!r:.60} has no place in this query; expected KEY=VALUE of {', '.join(known)}")
        if match[1] in found:
            raise ValueError(f"{match[1]!r} is given twice; write its values with commas between")
        found[match[1]] = _decode(match[2])
    return found


def read_number(text: str, key: str, usual: int, limit: int) -> int:
    """Return the number that a query has under its only key, from 1 to `limit`; ValueError for anything else."""
    given = read_query(text, (key,)).get(key, str(usual))
    if re.fullmatch(r"[1-9][0-9]{0,8}", given) and int(given) <= limit:
        return int(given)
    raise ValueError(f"{key}: {given!r:.60} is not a number from 1 to {limit}")


def write_query(values: Mapping[str, str]) -> str:
    """Write the values that are not empty, the question mark before them; nothing if there is none."""
    pairs = [f"{key}={_encode(value)}" for key, value in values.items() if value]
    return "?" + "&".join(pairs) if pairs else ""


def _decode(text: str) -> str:
    octets = _CODE.sub(lambda code: chr(int(code[1], 16)), text).encode("latin-1")
    try:
        return octets.decode()
    except UnicodeDecodeError:
        raise ValueError(f"{text!r:.60} is not UTF-8") from None


def _encode(text: str) -> str:
    return _OTHER.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
