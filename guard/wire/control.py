"""The control API: what may be asked of the running daemon, and how question and answer look in HTTP and JSON.

    GET /v1/status      GET /v1/bans             POST /v1/bans  {"source", "for", "reason"}
    GET /v1/rules       GET /v1/bans/SOURCE      DELETE /v1/bans/SOURCE
    POST /v1/reload     GET /v1/allow            POST /v1/allow {"source", "for"}
    POST /v1/pause      GET /v1/allow/SOURCE     DELETE /v1/allow/SOURCE
    DELETE /v1/pause    GET /v1/explain/SOURCE   DELETE /v1/bans, which lifts all
    GET /v1/events?FILTER    GET /v1/top?rows=N  GET /v1/history?WANTED

`for` is a time such as `1h30m`, in `POST /v1/pause {"for"}` too; without it a ban lasts an hour, what is allowed stays
so, and a pause ends when it is deleted. SOURCE is an address or a network with its slash percent-encoded:
`/v1/bans/198.51.100.0%2F24`. `GET /v1/allow/SOURCE` tells whether a source is allowed, and by what. An answer is the
JSON value itself; an error has a status of 400 or more and is `{"error": text, "exit_code": n}`, the code that the
command line ends with. `GET /v1/events` is answered by server-sent events without an end (wire/stream.py); FILTER is
any of `kind`, `address`, `rule` and `outcome`, the values of a list with commas between; WANTED is in wire/history.py.
`GET /v1/top` tells who attacks most of late, 10 rows of each table, or as many as it is asked for. `/v1` stays as it
is: keys may be added, never changed. docs/openapi.yaml is for programs.
"""

from __future__ import annotations

import json
import re
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from guard.core.address import Source, parse_source, show
from guard.core.text import printable
from guard.core.units import DAY, HOUR, SECOND, Duration, format_duration, parse_duration
from guard.errors import ConfigError, ControlError, DaemonUnreachable, GuardError, NotFound
from guard.wire.history import Wanted, read_wanted, show_wanted
from guard.wire.query import read_number, write_query
from guard.wire.stream import Filter, read_filter, show_filter

if TYPE_CHECKING:
    from collections.abc import Mapping

BODY_LIMIT = 64 * 1024
"""Bytes of a request's body; the longest real one has 300."""
HEAD_LIMIT = 16 * 1024
"""Bytes of an answer's head; aiohttp writes 160."""
ANSWER_LIMIT = 512 * 1024 * 1024
"""Bytes of an answer: the ledger's million bans at 250 bytes each, twice."""
REASON_LIMIT = 200
"""Characters of the reason for a ban by hand."""
USUAL_LENGTH = HOUR
USUAL_ROWS, ROWS_LIMIT = 10, 100
"""Rows of each table of `GET /v1/top`."""
LONGEST = Duration(366 * DAY)
"""The longest time that a command may name; who must never return belongs in the administrator's own firewall."""


class Call(Enum):
    """What can be asked; the values are a method and a path, in which `*` stands for a source."""

    STATUS = "GET /v1/status"
    RULES = "GET /v1/rules"
    BANS = "GET /v1/bans"
    BAN = "GET /v1/bans/*"
    FLUSH_BANS = "DELETE /v1/bans"
    ADD_BAN = "POST /v1/bans"
    REMOVE_BAN = "DELETE /v1/bans/*"
    ALLOWED = "GET /v1/allow"
    TEST_ALLOW = "GET /v1/allow/*"
    ADD_ALLOW = "POST /v1/allow"
    REMOVE_ALLOW = "DELETE /v1/allow/*"
    EXPLAIN = "GET /v1/explain/*"
    HISTORY = "GET /v1/history"
    RELOAD = "POST /v1/reload"
    PAUSE = "POST /v1/pause"
    RESUME = "DELETE /v1/pause"
    EVENTS = "GET /v1/events"
    TOP = "GET /v1/top"

    @property
    def changes(self) -> bool:
        """Whether it changes something, other than what it tells."""
        return not self.value.startswith("GET ")


class Request(NamedTuple):
    """A checked question. `source` is there if its call has one; `reason` belongs to ADD_BAN.

    `length` belongs to ADD_BAN, and to ADD_ALLOW and PAUSE, where None means without end; `filter` to EVENTS and
    `wanted` to HISTORY, `rows` to TOP.
    """

    call: Call
    source: Source = Source(b"")
    length: Duration | None = None
    reason: str = ""
    filter: Filter = Filter()
    wanted: Wanted | None = None
    rows: int = 0


class RequestError(ControlError):
    """A request that is none of ours; `status` is HTTP's word for what is wrong with it."""

    exit_code = 2

    def __init__(self, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.status = status


class NotPermitted(RequestError):
    """A change by somebody who may only look."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(text, 403)


class TooMany(RequestError):
    """A wish that could be served, if there were not so many of its kind."""

    exit_code = 1

    def __init__(self, text: str) -> None:
        super().__init__(text, 503)


def parse_request(method: str, target: str, body: bytes) -> Request:
    """Read a request from its method, its target as it stood in the request line, and its body.

    RequestError or AddressError says what is wrong, whatever the bytes were.
    """
    place, _, query = target.partition("?")
    path, source = _split(place if place in _ASKED else target)
    try:
        call = Call(f"{method} {path}")
    except ValueError:
        known = [call.value.split()[0] for call in Call if call.value.endswith(f" {path}")]
        text = f"expected {' or '.join(known)}" if known else "expected a path under /v1, see the manual"
        raise RequestError(f"no {printable(method, 20)} {target!r:.200}; {text}", 405 if known else 404) from None
    if call is Call.PAUSE:
        return Request(call, length=_length(_take_text(body, (), ("for",)) if body else {}))
    if call is Call.ADD_ALLOW:
        texts = _take_text(body, ("source",), ("for",))
        return Request(call, parse_source(texts["source"]), _length(texts))
    if call is Call.ADD_BAN:
        texts = _take_text(body, ("source",), ("for", "reason"))
        length = _length(texts) or USUAL_LENGTH
        return Request(call, parse_source(texts["source"]), length, check_reason(texts.get("reason", "")))
    if body:
        raise RequestError(f"{call.value} takes no body; {len(body)} bytes came")
    if place in _ASKED:
        return _look(call, query)
    return Request(call) if source is None else Request(call, parse_source(source))


def write_request(request: Request) -> bytes:
    """Write a request as it goes over the socket; its answer ends the connection."""
    call = request.call
    method, _, path = call.value.partition(" ")
    value: dict[str, str] = {}
    if call in (Call.ADD_BAN, Call.ADD_ALLOW):
        value["source"] = show(request.source)
    if request.length is not None:
        value["for"] = f"{request.length // SECOND}s"
    if call is Call.ADD_BAN:
        value["reason"] = request.reason
    body = json.dumps(value).encode() if value else b""
    if "*" in path:
        path = path.replace("*", show(request.source).replace("/", "%2F"))
    if call is Call.EVENTS:
        path += show_filter(request.filter)
    if request.wanted is not None:
        path += show_wanted(request.wanted)
    if request.rows:
        path += write_query({"rows": str(request.rows)})
    # An answer without an end is in chunks in HTTP/1.1, and nothing but itself in 1.0.
    version = "1.0" if call is Call.EVENTS else "1.1"
    head = f"{method} {path} HTTP/{version}\r\nHost: astguard\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
    return f"{head}Content-Type: application/json\r\n\r\n".encode() + body


def read_answer(data: bytes) -> object:
    """Read the bytes of a whole answer; an error in it is raised as it was on the other side."""
    head, _, body = data.partition(b"\r\n\r\n")
    status = re.match(rb"HTTP/1\.[01] (\d{3}) ", head)
    length = re.search(rb"(?i)\r\ncontent-length: *(\d{1,12})(?=\r\n|$)", head)
    if not status or not length:
        raise ControlError(f"what answers on the control socket is not astguard: it says {_quote(data)}")
    if len(body) != int(length[1]):
        raise ControlError(f"the answer is cut short: {len(body)} of {int(length[1])} bytes came; try again")
    try:
        value: object = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if status[1] == b"200" and value is not None:
        return value
    if isinstance(value, dict) and isinstance(value.get("error"), str):
        raise _error(value["error"], value.get("exit_code"))
    raise ControlError(f"the daemon failed with HTTP {int(status[1])}: {_quote(body)}; see its log")


def write_error(error: GuardError) -> tuple[int, bytes]:
    """Return the HTTP status and the body that report an error."""
    status = error.status if isinstance(error, RequestError) else _STATUS.get(error.exit_code, 409)
    return status, json.dumps({"error": str(error), "exit_code": error.exit_code}).encode()


def check_reason(text: str) -> str:
    """Return a reason that can stand in a log; RequestError if it cannot."""
    if len(text) > REASON_LIMIT or not text.isprintable():
        raise RequestError(f"the reason '{printable(text, 40)}' is not one line of at most {REASON_LIMIT} characters")
    return text


def check_length(length: Duration) -> Duration:
    """Return a length that a command may name; RequestError if it is longer."""
    if length > LONGEST:
        raise RequestError(f"{format_duration(length)} is too long; at most {format_duration(LONGEST)}")
    return length


_ASKED = {call.value.removeprefix("GET ") for call in (Call.EVENTS, Call.HISTORY, Call.TOP)}
"""Paths that may have a query."""
_STATUS = {2: 400, 4: 404, 78: 422}
_ERRORS: dict[int, type[ControlError]] = {2: RequestError, 3: DaemonUnreachable, 4: NotFound}


def _error(text: str, exit_code: object) -> GuardError:
    if exit_code == ConfigError.exit_code:
        return ConfigError(text.splitlines())
    kind: type[ControlError] = _ERRORS.get(exit_code if isinstance(exit_code, int) else 1, ControlError)
    return kind(text)


def _split(target: str) -> tuple[str, str | None]:
    """Split off the source of a target: the path with `*` in its place, and the source decoded."""
    match = re.fullmatch(r"(/v1/(?:bans|allow|explain)/)([0-9A-Za-z.:%]{1,200})", target)
    if not match:
        return (target, None) if "*" not in target else ("", None)
    return match[1] + "*", re.sub(r"%([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), match[2])


def _take_text(body: bytes, required: tuple[str, ...], optional: tuple[str, ...]) -> Mapping[str, str]:
    """Read a JSON object of texts with these keys and no others."""
    try:
        value = json.loads(body.decode(), object_pairs_hook=_pairs)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"the body is not JSON as expected: {printable(str(error))}") from None
    if not isinstance(value, dict) or not set(required) <= value.keys() <= {*required, *optional}:
        keys = [*map(repr, required), *(f"perhaps {key!r}" for key in optional)]
        raise RequestError(f"expected a JSON object with {', '.join(keys)}")
    for key, text in value.items():
        if not isinstance(text, str):
            raise RequestError(f"expected text for {key!r}, not {printable(json.dumps(text), 40)}")
    return value


def _pairs(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(dict(pairs)) < len(pairs):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _look(call: Call, query: str) -> Request:
    """Read a question that has a query."""
    try:
        if call is Call.TOP:
            return Request(call, rows=read_number(query, "rows", USUAL_ROWS, ROWS_LIMIT))
        if call is Call.HISTORY:
            return Request(call, wanted=read_wanted(query))
        return Request(call, filter=read_filter(query))
    except ValueError as error:
        raise RequestError(printable(str(error))) from None


def _length(texts: Mapping[str, str]) -> Duration | None:
    try:
        return check_length(parse_duration(texts["for"])) if "for" in texts else None
    except ValueError as error:
        raise RequestError(printable(str(error))) from None


def _quote(data: bytes) -> str:
    return f"'{printable(data[:60].decode('utf-8', 'replace'), 60)}'" if data else "nothing"
