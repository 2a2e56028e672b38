"""The control API without a socket: what requests and answers look like, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from guard.core.address import Source, parse_source, show
from guard.core.event import Kind
from guard.core.rule import Mode, Rule
from guard.core.text import printable
from guard.core.units import DAY, HOUR, MINUTE, SECOND, Duration, Wall
from guard.errors import AddressError, ConfigError, ControlError, DaemonUnreachable, FirewallError, GuardError, NotFound
from guard.wire.control import (
    BODY_LIMIT,
    LONGEST,
    ROWS_LIMIT,
    Call,
    Request,
    RequestError,
    parse_request,
    read_answer,
    write_error,
    write_request,
)
from guard.wire.describe import describe_rule
from guard.wire.history import LIMIT, Wanted
from guard.wire.stream import Filter

HOST = parse_source("198.51.100.7")
NETWORK = parse_source("2001:db8:5::/64")


def answer(body, status=200, head="Content-Type: application/json\r\nServer: x"):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"HTTP/1.1 {status} X\r\nContent-Length: {len(data)}\r\n{head}\r\n\r\n".encode() + data


def over_the_wire(request):
    head, _, body = write_request(request).partition(b"\r\n\r\n")
    method, target, version = head.split(b"\r\n")[0].decode().split(" ")
    assert version == ("HTTP/1.0" if request.call is Call.EVENTS else "HTTP/1.1")
    return parse_request(method, target, body)


sources = st.one_of(
    st.builds(lambda n, k: parse_source(f"{n}.0.0.0/{k}"), st.integers(0, 255), st.integers(8, 32)),
    st.builds(lambda n, k: parse_source(f"2001:db8:{n:x}::/{k}"), st.integers(0, 65535), st.integers(48, 128)),
)
lengths = st.integers(1, LONGEST // SECOND).map(lambda seconds: Duration(seconds * SECOND))
wanted = st.builds(
    Wanted,
    source=sources | st.just(Source(b"")),
    rule=st.sampled_from(["", "manual", "pjsip-guessing"]),
    since=st.none() | st.integers(0, 4_000_000_000_000).map(lambda ms: Wall(ms * 1_000_000)),
    until=st.none() | st.integers(0, 4_000_000_000_000).map(lambda ms: Wall(ms * 1_000_000)),
    limit=st.integers(1, LIMIT),
)
plain = [Call.STATUS, Call.RULES, Call.BANS, Call.FLUSH_BANS, Call.ALLOWED, Call.RELOAD, Call.RESUME]
requests = st.one_of(
    st.sampled_from(plain).map(Request),
    st.tuples(st.sampled_from([Call.BAN, Call.REMOVE_BAN, Call.TEST_ALLOW, Call.REMOVE_ALLOW]), sources).map(
        lambda parts: Request(*parts)
    ),
    st.tuples(st.just(Call.ADD_ALLOW), sources, st.none() | lengths).map(lambda parts: Request(*parts)),
    (st.none() | lengths).map(lambda length: Request(Call.PAUSE, length=length)),
    sources.map(lambda source: Request(Call.EXPLAIN, source)),
    wanted.map(lambda asked: Request(Call.HISTORY, wanted=asked)),
    st.tuples(st.just(Call.ADD_BAN), sources, lengths, st.text(max_size=200).filter(str.isprintable)).map(
        lambda parts: Request(*parts)
    ),
    st.integers(1, ROWS_LIMIT).map(lambda rows: Request(Call.TOP, rows=rows)),
    sources.map(lambda source: Request(Call.EVENTS, filter=Filter(source=source))),
)


@given(requests)
def test_what_the_client_writes_the_server_reads(request):
    assert over_the_wire(request) == request


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("?x=1", "'x=1' has no place in this query; expected KEY=VALUE of source, rule, since, until, limit"),
        ("?", None),
        ("?rule=a&rule=b", "'rule' is given twice"),
        ("?limit=0", "'0' is no limit from 1 to 10000"),
        ("?limit=10001", "no limit"),
        ("?limit=%D9%A1", "no limit"),
        ("?since=yesterday", "'yesterday' is no time like 2026-05-01T14:02:11.000Z"),
        ("?rule=a%20b", "'a b' is no name of a rule"),
        ("?rule=%1b%5B2J", r"'\x1b[2J' is no name of a rule"),
        ("?source=198.51.100.7/40", "is not an address or network"),
    ],
)
def test_a_question_about_the_past_is_read_strictly(query, says):
    if says is None:
        assert parse_request("GET", f"/v1/history{query}", b"").wanted == Wanted()
        return
    with pytest.raises((RequestError, AddressError)) as caught:
        parse_request("GET", f"/v1/history{query}", b"")
    assert says in str(caught.value)


def test_a_request_is_plain_http_that_curl_could_send():
    assert write_request(Request(Call.REMOVE_BAN, NETWORK)) == (
        b"DELETE /v1/bans/2001:db8:5::%2F64 HTTP/1.1\r\nHost: astguard\r\nConnection: close\r\nContent-Length: 0\r\n"
        b"Content-Type: application/json\r\n\r\n"
    )
    assert write_request(Request(Call.ADD_BAN, HOST, MINUTE, "toll fraud")).partition(b"\r\n\r\n")[2] == (
        b'{"source": "198.51.100.7/32", "for": "60s", "reason": "toll fraud"}'
    )


@pytest.mark.parametrize(
    ("method", "target", "body", "request_"),
    [
        ("GET", "/v1/bans/198.51.100.7", b"", Request(Call.BAN, HOST)),
        ("GET", "/v1/bans/198.51.100.7%2f32", b"", Request(Call.BAN, HOST)),
        ("GET", "/v1/allow/2001%3Adb8%3A5%3A%3A%2F64", b"", Request(Call.TEST_ALLOW, NETWORK)),
        ("POST", "/v1/bans", b'{"source": "198.51.100.7"}', Request(Call.ADD_BAN, HOST, HOUR, "")),
        ("POST", "/v1/bans", b'{"for": "1d", "source": "198.51.100.7"}', Request(Call.ADD_BAN, HOST, DAY, "")),
        ("POST", "/v1/allow", b' {"source":"2001:db8:5::/64"}\n', Request(Call.ADD_ALLOW, NETWORK)),
        ("POST", "/v1/allow", b'{"source":"198.51.100.7", "for": "2h"}', Request(Call.ADD_ALLOW, HOST, 2 * HOUR)),
        ("POST", "/v1/reload", b"", Request(Call.RELOAD)),
        ("POST", "/v1/pause", b"", Request(Call.PAUSE)),
        ("POST", "/v1/pause", b"{}", Request(Call.PAUSE)),
        ("POST", "/v1/pause", b'{"for": "30m"}', Request(Call.PAUSE, length=30 * MINUTE)),
        ("DELETE", "/v1/pause", b"", Request(Call.RESUME)),
    ],
)
def test_requests_by_hand_are_understood(method, target, body, request_):
    assert parse_request(method, target, body) == request_


@pytest.mark.parametrize(
    ("method", "target", "status", "says"),
    [
        ("GET", "/", 404, "no GET '/'; expected a path under /v1"),
        ("GET", "/v2/bans", 404, "no GET '/v2/bans'"),
        ("GET", "/v1/bans/", 404, "no GET '/v1/bans/'"),
        ("GET", "/v1/bans?all=1", 404, "no GET '/v1/bans?all=1'"),
        ("GET", "/v1/bans/*", 404, "no GET '/v1/bans/*'"),
        ("GET", "/v1/bans/198.51.100.0/24", 404, "no GET '/v1/bans/198.51.100.0/24'"),
        ("GET", "/v1/bans/\x1b[2J", 404, r"no GET '/v1/bans/\x1b[2J'"),
        ("\x1b[2J\n", "/", 404, "no " + printable("\x1b[2J\n") + " '/'; expected a path"),
        ("GET", "/v1/" + "x" * 9_000, 404, "no GET '/v1/xxx"),
        ("PUT", "/v1/bans", 405, "no PUT '/v1/bans'; expected GET or DELETE or POST"),
        ("POST", "/v1/bans/198.51.100.7", 405, "no POST '/v1/bans/198.51.100.7'; expected GET or DELETE"),
        ("get", "/v1/status", 405, "no get '/v1/status'; expected GET"),
    ],
)
def test_a_path_or_method_that_is_none_is_named(method, target, status, says):
    with pytest.raises(RequestError) as caught:
        parse_request(method, target, b"")
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 400
    assert write_error(caught.value)[0] == status


@pytest.mark.parametrize("text", ["1.2.3", "198.51.100.7%2F24", "%00", "%zz", "fe80::1%25eth0", "a" * 200])
def test_a_source_that_is_none_is_refused(text):
    with pytest.raises(AddressError) as caught:
        parse_request("GET", f"/v1/bans/{text}", b"")
    assert write_error(caught.value)[0] == 400


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "the body is not JSON as expected"),
        (b"{", "the body is not JSON as expected"),
        (b"\xff", "the body is not JSON as expected"),
        (b"[" * 60_000, "the body is not JSON as expected"),
        (b"9" * 60_000, "the body is not JSON as expected"),
        ('{"source": "198.51.100.7"}'.encode("utf-16"), "the body is not JSON as expected"),
        (b'{"source": "198.51.100.7", "source": "198.51.100.8"}', "the body is not JSON as expected: a key is given"),
        (b"[]", "expected a JSON object with 'source', perhaps 'for', perhaps 'reason'"),
        (b"null", "expected a JSON object with 'source'"),
        (b"{}", "expected a JSON object with 'source'"),
        (b'{"source": "198.51.100.7", "scope": "all"}', "expected a JSON object with 'source'"),
        (b'{"source": 7}', "expected text for 'source', not 7"),
        (b'{"source": "198.51.100.7", "for": null}', "expected text for 'for', not null"),
        (b'{"source": "198.51.100.7", "for": "0s"}', "'0s' is not a duration"),
        (b'{"source": "198.51.100.7", "for": "367d"}', "367d is too long; at most 366d"),
        (b'{"source": "198.51.100.7", "for": "\\u001b"}', r"'\x1b' is not a duration"),
        (b'{"source": "198.51.100.7", "reason": "a\\nb"}', r"the reason 'a\nb' is not one line"),
        (b'{"source": "198.51.100.7", "reason": "\\ud800"}', r"the reason '\ud800' is not one line"),
        (b'{"source": "198.51.100.7", "reason": "\\u202eevil"}', r"the reason '\u202eevil' is not one line"),
        (b'{"source": "198.51.100.7", "reason": "' + b"x" * 201 + b'"}', "the reason 'xxx"),
    ],
)
def test_a_body_that_is_not_as_documented_is_refused(body, says):
    with pytest.raises(RequestError) as caught:
        parse_request("POST", "/v1/bans", body)
    assert str(caught.value).startswith(says)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_a_question_takes_no_body():
    with pytest.raises(RequestError, match="GET /v1/status takes no body; 2 bytes came"):
        parse_request("GET", "/v1/status", b"{}")


@given(
    st.text(max_size=10) | st.sampled_from(["GET", "POST", "DELETE"]),
    st.text() | st.sampled_from(["/v1/bans", "/v1/allow"]) | st.text("0123456789abcdef.:%/*?").map("/v1/bans/".__add__),
    st.binary() | st.recursive(st.none() | st.text() | st.floats(), lambda inner: st.dictionaries(
        st.sampled_from(["source", "for", "reason", "x"]), inner) | st.lists(inner)).map(lambda v: json.dumps(v).encode()),
)  # fmt: skip
@example("POST", "/v1/bans", b'{"source": "\\ud800"}')
def test_any_request_is_read_or_refused_in_words(method, target, body):
    try:
        request = parse_request(method, target, body)
    except GuardError as error:
        refused = error
    else:
        assert isinstance(request, Request)
        return
    status, said = write_error(refused)
    assert 400 <= status < 500
    assert json.loads(said) == {"error": str(refused), "exit_code": refused.exit_code}


# Answers.


def test_an_answer_is_its_json_value():
    assert read_answer(answer([{"source": "198.51.100.7/32"}])) == [{"source": "198.51.100.7/32"}]
    assert read_answer(b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n[]") == []


@pytest.mark.parametrize(
    "error",
    [
        ControlError("198.51.100.7 is on the allowlist"),
        NotFound("198.51.100.7 is not banned"),
        RequestError("no such thing"),
        DaemonUnreachable("stopping"),
        ConfigError(["a.yaml:1:1: one", "a.yaml:2:1: two"]),
    ],
)
def test_an_error_is_the_same_on_both_sides(error):
    status, body = write_error(error)
    with pytest.raises(type(error)) as caught:
        read_answer(answer(body, status))
    assert (str(caught.value), caught.value.exit_code) == (str(error), error.exit_code)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ControlError("x"), 409), (NotFound("x"), 404), (AddressError("x"), 400), (RequestError("x", 413), 413),
        (ConfigError(["x"]), 422), (FirewallError("x"), 409),
    ],
)  # fmt: skip
def test_every_error_has_its_http_status(error, status):
    assert write_error(error)[0] == status


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "what answers on the control socket is not astguard: it says nothing"),
        (b"SSH-2.0-OpenSSH\r\n", r"what answers on the control socket is not astguard: it says 'SSH-2.0-OpenSSH\r\n'"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "what answers on the control socket is not",
        ),
        (answer([])[:-1], "the answer is cut short: 1 of 2 bytes came; try again"),
        (answer([]) + b"x", "the answer is cut short: 3 of 2 bytes came; try again"),
        (answer(b"\x1b[2J", 500), r"the daemon failed with HTTP 500: '\x1b[2J'; see its log"),
        (answer(b"{", 200), "the daemon failed with HTTP 200: '{'"),
        (answer(b"[" * 100_000, 200), "the daemon failed with HTTP 200"),
        (answer({"error": 7, "exit_code": 4}, 404), "the daemon failed with HTTP 404"),
        (answer({"error": "odd", "exit_code": "4"}, 404), "odd"),
        (answer({"error": "odd", "exit_code": 99}, 404), "odd"),
    ],
)
def test_an_answer_that_is_none_is_an_error_in_words(data, says):
    with pytest.raises(ControlError) as caught:
        read_answer(data)
    assert str(caught.value).startswith(says)
    assert caught.value.exit_code == 1


@given(st.binary() | st.binary().map(answer) | st.integers(100, 999).map(lambda status: answer({"error": "x"}, status)))
def test_any_bytes_are_an_answer_or_an_error_in_words(data):
    with contextlib.suppress(GuardError):
        read_answer(data)


def test_the_limit_of_a_body_leaves_room_for_the_longest_one():
    longest = Request(Call.ADD_BAN, parse_source("2001:db8::/64"), LONGEST, "\U0010fffd" * 200)
    assert len(write_request(longest)) < BODY_LIMIT / 10


def test_a_rule_is_described_in_words_of_the_rule_language():
    rule = Rule(
        name="scan", weights={Kind.INVALID_ACCOUNT_ID: 1}, threshold=6, window=Duration(90 * SECOND),
        ban=(Duration(10 * MINUTE), DAY), about="Scanners.",
    )  # fmt: skip
    assert describe_rule(rule, Mode.ENFORCE, Path("/etc/astguard/rules/scan.yaml")) == {
        "name": "scan", "mode": "enforce", "threshold": 6, "window": "1m30s", "ban": ["10m", "1d"],
        "about": "Scanners.", "file": "/etc/astguard/rules/scan.yaml", "events": ["InvalidAccountID"], "services": [],
        "sensors": [], "accounts": [], "acls": [], "evidence": "any", "distinct": False, "scope": "all",
        "trusted": "slow", "across": None, "prefix": ["/32", "/64"], "forget": "30d",
    }  # fmt: skip
    assert describe_rule(rule, Mode.OBSERVE, Path("x"))["mode"] == "observe"


def test_sources_always_go_over_the_wire_with_their_prefix_length():
    assert show(HOST) == "198.51.100.7/32"
