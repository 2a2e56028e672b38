"""Lines of the `messages` log: what they tell, and what no line can make a reader believe."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.address import show
from guard.core.event import Kind, Sensor, Service, Transport
from guard.core.units import SECOND
from guard.wire.loglines import MESSAGE_LIMIT
from guard.wire.logtime import LogClock
from guard.wire.messages import MessagesReader
from guard.wire.messagevalues import SESSION_LIMIT

HEAD = "[2026-11-22 13:41:14.347] NOTICE[23317] "
PJSIP = HEAD + "res_pjsip/pjsip_distributor.c: "
FROM = "<sip:101@203.0.113.10>"
CALL = (
    HEAD
    + "res_pjsip_session.c:  anonymous: Call (UDP:198.51.100.11:5060) to extension '{}' rejected because extension "
)
CALL += "not found in context 'public'."
SIP = HEAD + "chan_sip.c: Registration from '{}' failed for '198.51.100.11:5060' - {}"
MUTED = (
    "[2026-11-22 13:41:14.347] ERROR[23317] security_events.c: Failed to issue security event of type ChallengeSent."
)
OTHER = "[2026-11-22 13:41:14.347] WARNING[23317] res_pjsip_registrar.c: AOR '' not found for endpoint '101'"


def request(
    sender=FROM, call_id="call-1", reason="Failed to authenticate", peer="198.51.100.11:5060", method="REGISTER"
):
    return f"{PJSIP}Request '{method}' from '{sender}' failed for '{peer}' (callid: {call_id}) - {reason}"


CLEAN = request()
TORN = request(sender='"x')


def read(data, piece=None):
    reader = MessagesReader(LogClock(UTC))
    pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
    events = [event for part in pieces for event in reader.feed(part)] + reader.finish()
    return events, reader.tampered, reader.muted


def lines(*texts):
    return "".join(text + "\n" for text in texts).encode(errors="surrogateescape")


def sources(*texts):
    return [show(event.source).removesuffix("/32") for event in read(lines(*texts))[0]]


def one(text):
    events, tampered, _ = read(lines(text))
    assert tampered == 0
    (event,) = events
    return event


PJSIP_REASONS = {
    "No matching endpoint found": (Kind.INVALID_ACCOUNT_ID, ""),
    "No matching endpoint found after 5 tries in 401.000 ms": (Kind.INVALID_ACCOUNT_ID, ""),
    "Failed to authenticate": (Kind.CHALLENGE_RESPONSE_FAILED, ""),
    "Error to authenticate": (Kind.CHALLENGE_RESPONSE_FAILED, ""),
    "Not match Endpoint ACL": (Kind.FAILED_ACL, "not_match_endpoint_acl"),
    "Not match Endpoint Contact ACL": (Kind.FAILED_ACL, "not_match_endpoint_contact_acl"),
}
SIP_REASONS = {
    "Wrong password": (Kind.INVALID_PASSWORD, ""),
    "No matching peer found": (Kind.INVALID_ACCOUNT_ID, ""),
    "Username/auth name mismatch": (Kind.CHALLENGE_RESPONSE_FAILED, ""),
    "Device does not match ACL": (Kind.FAILED_ACL, "device_must_match_acl"),
    "Not a local domain": (Kind.FAILED_ACL, "domain_must_match"),
    "Peer is not supposed to register": (Kind.FAILED_ACL, "peer_not_dynamic"),
}
IAX2 = {
    "NOTICE[1] acl.c: IAX2 user ACL: Rejecting '198.51.100.11' due to a failure to pass ACL '(BASELINE)'": (
        Kind.FAILED_ACL, ""),
    "NOTICE[1] acl.c: IAX2 Peer ACL: Rejecting '198.51.100.11' due to a failure to pass ACL 'phones'": (
        Kind.FAILED_ACL, ""),
    "WARNING[1] chan_iax2.c: Host 198.51.100.11:4569 failed to authenticate as joe' (x": (
        Kind.CHALLENGE_RESPONSE_FAILED, "joe' (x"),
    "NOTICE[1] chan_iax2.c: Host 198.51.100.11 failed MD5 authentication for 'joe' "
    "(0cc175b9c0f1b6a831c399e269772661 != ab)": (Kind.CHALLENGE_RESPONSE_FAILED, "joe"),
    "NOTICE[1] chan_iax2.c: Host 198.51.100.11 did not provide proper plaintext password for 'joe'": (
        Kind.CHALLENGE_RESPONSE_FAILED, "joe"),
    "NOTICE[1] chan_iax2.c: No registration for peer 'joe' (from 198.51.100.11)": (Kind.INVALID_ACCOUNT_ID, "joe"),
    "NOTICE[1] chan_iax2.c: Empty registration from 198.51.100.11": (Kind.INVALID_ACCOUNT_ID, ""),
    "NOTICE[1] chan_iax2.c: Rejected connect attempt from 198.51.100.11:4569, who was trying to reach '9@x'": (
        Kind.INVALID_ACCOUNT_ID, ""),
}  # fmt: skip
MESSAGES = [
    *(request(reason=reason) for reason in PJSIP_REASONS),
    *(SIP.format(FROM, reason) for reason in SIP_REASONS),
    *("[2026-11-22 13:41:14.347] " + line for line in IAX2),
    CALL.format("0044"),
]


@pytest.mark.parametrize("line", MESSAGES)
def test_each_message_is_read_whole_byte_by_byte_and_with_trailing_bytes(line):
    data = (line + "\n").encode()
    whole = read(data)
    assert (len(whole[0]), whole[1:]) == (1, (0, 0))
    (event,) = whole[0]
    assert (show(event.source), event.sensor, event.proven) == ("198.51.100.11/32", Sensor.MESSAGES, False)
    assert read(data, 1) == whole
    assert read(data[:-1]) == whole
    assert read(data + data[:60])[0] == whole[0]


@pytest.mark.parametrize("line", MESSAGES)
def test_no_message_is_believed_with_more_or_less_at_its_ends(line):
    for text in (line[1:], " " + line, line.replace("[2", "2", 1), line.replace("] ", "]  ", 1)):
        assert sources(text) == []
    if "'0044'" not in line and "authenticate as" not in line:
        assert sources(line + "x") == []
        assert sources(line[:-1]) == [] or line[-1].isdigit()


@pytest.mark.parametrize("reason", PJSIP_REASONS)
def test_the_reasons_of_pjsip(reason):
    event = one(request(reason=reason))
    assert (event.kind, event.acl) == PJSIP_REASONS[reason]
    assert (event.service, event.account, event.session) == (Service.PJSIP, "101", "call-1")
    assert (event.transport, event.local_port, event.at % SECOND) == (Transport.UNNAMED, 5060, 347_000_000)


@pytest.mark.parametrize("reason", SIP_REASONS)
def test_the_reasons_of_chan_sip(reason):
    event = one(SIP.format('"Bob" <sip:301@203.0.113.10>;x=1', reason))
    assert (event.kind, event.acl) == SIP_REASONS[reason]
    assert (event.service, event.account, event.session) == (Service.SIP, "301", "198.51.100.11:5060")


@pytest.mark.parametrize("line", IAX2)
def test_iax2(line):
    event = one("[2026-11-22 13:41:14.347] " + line)
    assert (event.kind, event.account) == IAX2[line]
    assert (event.service, event.session, event.local_port, event.acl) == (Service.IAX2, "198.51.100.11", 4569, "")


def test_a_call_of_the_anonymous_endpoint():
    event = one(CALL.format("00442071234567"))
    assert (event.kind, event.service, event.transport) == (Kind.UNKNOWN_EXTENSION, Service.PJSIP, Transport.UDP)
    assert (event.account, event.session) == ("00442071234567", "198.51.100.11:5060")
    assert (
        one(CALL.format("9").replace("anonymous:", "anonymous@example.com:").replace("UDP", "TLS6")).transport == "TLS"
    )
    old = CALL.format("9").replace(" anonymous: Call", "Call from 'anonymous'")
    assert one(old.replace("c: Call", "c:Call").replace("c:Call", "c: Call")).account == "9"


def test_who_has_an_endpoint_has_only_misdialled():
    for name in (" 100:", " anonymouse:", "", " PJSIP/anonymous-00000001:"):
        assert read(lines(CALL.format("9").replace(" anonymous:", name))) == ([], 0, 0)
    assert read(lines(HEAD + "chan_sip.c: Call from 'x' (192.0.2.1:5060) to extension '9' rejected because extension not "
                      "found in context 'internal'.")) == ([], 0, 0)  # fmt: skip


@pytest.mark.parametrize(
    ("sender", "account"),
    [
        (FROM, "101"), ('"Bob" <sip:bob@pbx>', "bob"), ("<sips:bob:secret@pbx>", "bob"), ("<sip:pbx>", ""),
        ("<tel:+49301234;phone-context=x>", "+49301234"), ('"a \\"b\\" c" <sip:7@[2001:db8::1]:5060>', "7"),
        ("<sip:%61%0a@pbx>", "%61%0a"), (f"<sip:{'x' * 200}@pbx>", "x" * 80), ('"<sip:1@x>" <sip:2@y>', "2"),
        ("<sip:j\xfcrgen@pbx>", "j\xfcrgen"), ("<sip:\udcff@pbx>", r"\xff"),
    ],
)  # fmt: skip
def test_the_account_is_the_user_of_from(sender, account):
    assert one(request(sender=sender)).account == account


@pytest.mark.parametrize(
    "peer", ["198.51.100.11:5060", "[2001:db8::11]:5060", "[::ffff:198.51.100.11]:5060", "[fe80::1]:5060"]
)
def test_addresses_of_both_families(peer):
    assert show(one(request(peer=peer)).source).partition("/")[0] in {"198.51.100.11", "2001:db8::11", "fe80::1"}


@pytest.mark.parametrize("peer", ["198.51.100.11", "198.51.100.11:65536", "198.51.100.256:5060", "[::1:5060", "a:5060"])
def test_what_is_no_address_is_no_source(peer):
    assert sources(request(peer=peer)) == []


@pytest.mark.parametrize(
    "call_id",
    ["", "a)", "a) - Failed to authenticate", "x' failed for '8.8.8.8:5060' (callid: z) - Failed to authenticate",
     '" <sip:a@b>\' failed for \'8.8.8.8:5060\' (callid: z', "a\r", "\x0b\x0c\x1c", "\u2028", "'", "[Nov 22 1:2:3] NOTICE[1] "],
)  # fmt: skip
def test_a_call_id_may_hold_anything(call_id):
    event = one(request(call_id=call_id))
    assert (show(event.source), event.session) == ("198.51.100.11/32", call_id)


def test_a_call_id_that_is_no_text_is_written_in_escapes():
    assert one(request(call_id="718d\udcff@x")).session == r"718d\xff@x"


def test_a_session_is_the_same_however_much_of_the_call_id_the_log_has():
    """AMI has all of it, the log 255 or 511 bytes; the cut may go through a character."""
    for call_id in ("x" * 600, "é" * 300, "x" + "é" * 300, "xx" + "🙂" * 200):
        whole = call_id.encode()
        sessions = {
            read(lines(request(call_id="~")).replace(b"~", whole[:room]))[0][0].session for room in (255, 256, 511)
        }
        assert sessions == {whole[:SESSION_LIMIT].decode(errors="ignore")}


@pytest.mark.parametrize(
    "name",
    ["x' failed for '8.8.8.8:5060' (callid: y) - Failed to authenticate",
     "\\\" ' failed for '8.8.8.8:5060' (callid: y) - Failed to authenticate", "<sip:a@b>' failed for '8.8.8.8:5' (callid: "],
)  # fmt: skip
def test_a_quoted_name_may_look_like_the_rest_of_the_line(name):
    assert sources(request(sender=f'"{name}" <sip:nosuch@203.0.113.10>')) == ["198.51.100.11"]


def test_a_name_that_can_end_in_two_places_is_not_read():
    sender, call_id = '"x\\" <sip:n@pbx>', "\" <sip:a@b>' failed for '8.8.8.8:5060' (callid: z"
    assert read(lines(request(sender=sender, call_id=call_id)))[:2] == ([], 1)
    assert sources(request(sender=sender)) == ["198.51.100.11"]  # the words before the address stand only once


@pytest.mark.parametrize("sender", ["", '"x', "<sip:" + "x" * 500, "garbage \x01\udcfe", "sip:101@pbx", "<sip:a b@c>"])
def test_a_from_that_is_none_hides_no_address(sender):
    assert sources(request(sender=sender)) == ["198.51.100.11"]
    hidden = f"{sender}' failed for '8.8.8.8:5060' (callid: y"
    assert sources(request(sender=hidden)) in ([], ["198.51.100.11"])


def test_chan_sip_is_read_from_the_right():
    for header in ("Bob <sip:301@pbx>", "sip:301@pbx", "x' failed for '8.8.8.8:5060' - Wrong password", '"', "<" * 200):
        assert sources(SIP.format(header, "Wrong password")) == ["198.51.100.11"]


def test_what_chan_sip_itself_cannot_do_is_nobodys_attempt():
    for fault in ("Device not configured to use this transport type", "Unknown failure"):
        assert read(lines(SIP.format(FROM, fault))) == ([], 0, 0)


def test_a_torn_line_costs_itself_and_its_neighbour_and_no_more():
    assert read(lines(CLEAN, TORN[:-20], CLEAN, CLEAN))[:2] == (read(lines(CLEAN, CLEAN))[0], 2)


def test_other_lines_do_not_stand_between():
    assert read(lines(CLEAN, CALL.format("9")[:-30], OTHER, OTHER, CLEAN, CLEAN))[1] == 2
    assert len(read(lines(CLEAN, CALL.format("9")[:-30], OTHER, OTHER, CLEAN, CLEAN))[0]) == 2


def test_a_perfect_second_half_is_not_believed():
    forged = CLEAN.replace("198.51.100.11", "8.8.8.8")
    assert sources(CALL.format("9\n" + forged + "\n")) == []


def test_a_message_of_many_lines_can_hold_any_number_of_forged_ones():
    dump = HEAD.replace("NOTICE[23317]", "ERROR[23322]") + "pjproject: sip_endpoint.c Error processing packet:"
    forged = CLEAN.replace("198.51.100.11", "8.8.8.8").replace("23317", "4711")
    text = [dump, "REGISTER sip:x SIP/2.0\r", *[forged] * 30, "-- end of packet."]
    assert sources(CLEAN, *text, CLEAN, CLEAN) == ["198.51.100.11"] * 2  # the neighbour of the last line is lost
    new = CLEAN.replace("23317", "77")
    filler = [OTHER] * (MESSAGE_LIMIT // len(OTHER) + 1)
    assert sources(CLEAN, *text, CLEAN, new, *filler, new) == ["198.51.100.11"] * 2


def test_lines_of_manager_c_are_never_judged():
    line = HEAD + "manager.c: 198.51.100.11 failed to authenticate as 'x'"
    assert read(lines(line)) == ([], 0, 0)


def test_an_event_that_the_bus_lost_is_counted():
    assert read(lines(MUTED, MUTED.replace("[23317]", "[23317][C-0000001f]"))) == ([], 0, 2)
    assert read(lines(TORN[:-20], MUTED, MUTED)) == ([], 2, 1)


@pytest.mark.parametrize(
    "line", [CLEAN.replace("NOTICE", "DEBUG"), CLEAN.replace("res_pjsip/pjsip_distributor.c", "chan_sip.c"), OTHER,
             CLEAN.replace("res_pjsip/pjsip_distributor.c", "app_verbose.c"), MUTED.replace("ERROR", "NOTICE")],
)  # fmt: skip
def test_a_message_has_one_level_and_one_source_file(line):
    assert read(lines(line)) == ([], 0, 0)


def test_a_line_that_was_cut_is_glued_to_the_next_and_neither_is_believed():
    long = request(call_id="x" * 9_000)[:MESSAGE_LIMIT] + CLEAN.replace("198.51.100.11", "8.8.8.8")
    for piece in (None, 1_000):
        events, tampered, _ = read(lines(long, CLEAN, CLEAN), piece)
        assert ([show(event.source) for event in events], tampered) == (["198.51.100.11/32"], 2)


def test_a_line_that_goes_on_in_a_file_that_is_gone_costs_its_neighbour():
    reader = MessagesReader(LogClock(UTC))
    reader.feed(CLEAN[:50].encode())
    reader.interrupt()
    assert len(reader.feed(lines(CLEAN, CLEAN))) == 1


def test_a_line_whose_time_nobody_can_read_is_not_believed():
    assert read(lines(CLEAN.replace("2026-11-22", "22nd of Nov")))[:2] == ([], 1)


@pytest.mark.parametrize(
    "text",
    ['"' * 60_000, '\\"' * 30_000, "' failed for '" * 4_000, "<" * 60_000, "(callid: " * 7_000, "Call (UDP:" * 6_000,
     ") - Failed to authenticate" * 2_000, "1" * 60_000, "[" * 60_000, "\x1b[0m" * 15_000, ":" * 60_000],
)  # fmt: skip
@pytest.mark.parametrize("line", [request("{}"), request(call_id="{}"), SIP.format("{}", "Wrong password"), CALL, "{}"])
def test_hostile_lines_take_no_time(line, text):
    """An expression that is not linear would not end with these."""
    whole = line.replace("{}", text)
    assert sources(whole) == []
    sources(line.replace("{}", text[: MESSAGE_LIMIT - 400]), CLEAN)


TOKENS = st.sampled_from(
    [CLEAN, TORN, OTHER, MUTED, "\n", '"', "'", "<", ">", "[", "\\", PJSIP, "' failed for '", "\r"]
)


@given(st.lists(TOKENS | st.text(max_size=20), max_size=12).map("".join), st.integers(1, 400), st.binary(max_size=30))
def test_any_bytes_in_any_pieces_give_the_same_and_no_exception(text, piece, noise):
    data = text.encode(errors="surrogatepass") + noise + b"\n" + (CLEAN + "\n").encode()
    assert read(data, piece) == read(data)


NAMES = st.text(st.sampled_from("ab\\\"<>:' ()-"), max_size=20)
CALL_IDS = st.lists(st.sampled_from(["' failed for '8.8.8.8:5' (callid: ", '" <sip:a@b>', ") - Failed to authenticate", "\\",
                                     '"', "x", "<", ":"]), max_size=5).map("".join)  # fmt: skip


@given(NAMES, CALL_IDS)
def test_nobody_is_framed_by_a_name_and_a_call_id_that_pjproject_lets_through(name, call_id):
    """A name is a quoted string, or came without quotes and then holds neither a colon nor an angle bracket."""
    quoted = name.replace("\\", "\\\\").replace('"', '\\"')
    bare = name.replace(":", "").replace("<", "").strip()
    for sender in (quoted, bare.lstrip('"')):
        assert "8.8.8.8" not in sources(request(sender=f'"{sender}" <sip:a@b>', call_id=call_id))
