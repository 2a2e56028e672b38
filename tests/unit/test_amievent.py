"""From bytes to blocks to events: cutting, limits, the framing of our own login, and the neighbour rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire import amievent
from guard.wire.amievent import BLOCK_LIMIT, EARLY_LIMIT, SAMPLE_LIMIT, SAMPLES, BlockReader, EventReader
from guard.wire.grammar import ROWS
from tests.blocks import IDS, VALUES, ami, failure, headers, own_login, row_of

TIMESTAMP = "Timestamp: 1795355185.494328\r\n"
DEBUG = "SequenceNumber: 2\r\nFile: manager.c\r\nLine: 1875\r\nFunc: manager_default_msg_cb\r\n"
FRAMINGS = [
    "",
    TIMESTAMP,
    DEBUG,
    TIMESTAMP + DEBUG,
    "SystemName: lab 22\r\n",
    TIMESTAMP + DEBUG + "SystemName: a\rb\r\n",
]
TORN = failure("1\r\n01")
FOREIGN = "Event: VarSet\r\nPrivilege: dialplan,all\r\nVariable: A\r\nValue: b"
REPLY = "Response: Success\r\nActionID: somebody-1\r\nPing: Pong"


def stream(*blocks):
    return "".join(block + "\r\n\r\n" for block in blocks).encode()


def read(data, piece=None, username="astguard"):
    blocks, events = BlockReader(), EventReader(username)
    pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
    got = [event for part in pieces for event in events.read(blocks.feed(part))] + events.finish()
    return got, events.tampered, events.foreign, events.replies


def accounts(*blocks):
    """Return the accounts of the believed events behind a first one, our own login."""
    return [event.account for event in read(stream(own_login(), *blocks))[0]][1:]


# Blocks.


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_row_is_read_whole_byte_by_byte_and_with_trailing_bytes(row):
    data = stream(own_login(), ami(row), ami(row))
    whole = read(data)
    assert [event.kind for event in whole[0][1:]] == [row.kind] * 2
    assert whole[1:] == (0, 0, 0)
    assert read(data, 1) == whole
    for trailing in (b"\r", b"\r\n", b"\r\n\r", b"Event: ", stream(ami(row))[:-1], b"\xff\0"):
        assert read(data + trailing) == read(data + trailing, 1) == whole


def test_a_block_ends_at_two_line_ends_and_nowhere_else():
    for odd in ("a\rb", "a\nb", "a\n\nb", "a\r\rb", "a\n\rb", "\u2028\u2029\x0b\x0c\x85"):
        assert accounts(failure(odd)) == [odd]


@pytest.mark.parametrize("size", [65_200, 80_000])
def test_long_values_are_read(size):
    long = "x" * size
    assert accounts(failure(long, SessionID=long, Response=long)) == [long]


@pytest.mark.parametrize("over", [-2, -1, 0, 1, 2, 3, 70_000])
@pytest.mark.parametrize("piece", [None, 1_000, 65_536, BLOCK_LIMIT])
def test_a_block_over_the_limit_is_tampered_in_whatever_pieces_it_comes(over, piece):
    spare = BLOCK_LIMIT - len(failure(""))
    data = stream(own_login(), failure("x" * (spare + over)), failure("beside"), failure("after"))
    events, tampered, *_ = read(data, piece)
    assert (len(events), tampered) == ((4, 0) if over <= 0 else (2, 2))


def test_a_block_without_end_takes_no_more_room_than_the_limit():
    reader = BlockReader()
    for _ in range(20):
        assert reader.feed(b"x" * 100_000) == []
        assert len(reader._buffer) <= BLOCK_LIMIT + 3
        assert len(reader._skipped) <= SAMPLE_LIMIT
    assert reader.feed(b"\r\n\r\nEvent: x\r\n\r\n") == ["\0" + "x" * SAMPLE_LIMIT, "Event: x"]


def test_the_end_of_a_block_over_the_limit_may_come_in_pieces():
    for cut in range(4):
        reader = BlockReader()
        end = b"\r\n\r\n"
        got = reader.feed(b"x" * (BLOCK_LIMIT + 10) + end[:cut]) + reader.feed(end[cut:] + b"y\r\n\r\n")
        assert [block[:2] for block in got] == ["\0x", "y"]


def test_a_block_of_just_the_limit_is_read_even_if_its_end_comes_in_pieces():
    data = stream(failure("x" * (BLOCK_LIMIT - len(failure("")))))
    for cut in range(1, 4):
        reader = BlockReader()
        assert reader.feed(data[:-cut]) == []
        assert reader.feed(data[-cut:]) == [data[:-4].decode()]


def test_a_block_that_is_not_utf8_is_tampered_and_shown():
    data = stream(own_login(), failure("A"), failure("B"), failure("C")).replace(
        b"AccountID: A", b"AccountID: \xff\xfe"
    )
    reader = EventReader("astguard")
    events = reader.read(BlockReader().feed(data))
    assert [event.account for event in events] == ["astguard", "C"]
    assert reader.tampered == 2
    assert r"\xff\xfe" in reader.samples[0]


def test_a_hundred_thousand_headers_are_one_tampered_block():
    many = failure() + "\r\nA: b" * 40_000  # 240 kB; more are over the limit of a block anyway
    assert accounts(many, failure("beside"), failure("after")) == ["after"]
    assert accounts(failure() + "\r\nA: b" * 100_000, failure("beside"), failure("after")) == ["after"]


@given(st.binary(max_size=2_000), st.integers(1, 50))
def test_any_bytes_are_cut_the_same_in_any_pieces(data, piece):
    whole, pieces = BlockReader(), BlockReader()
    assert whole.feed(data) == [
        block for at in range(0, len(data), piece) for block in pieces.feed(data[at : at + piece])
    ]


# The framing is that of our own login's event.


@pytest.mark.parametrize("framing", FRAMINGS)
def test_the_framing_of_our_own_login_is_that_of_every_event(framing):
    for other in FRAMINGS:
        events, tampered, *_ = read(stream(own_login(framing=framing), failure(framing=other)))
        assert (len(events), tampered) == ((2, 0) if other == framing else (1, 1)), other


@pytest.mark.parametrize(
    "framing",
    [
        "SystemName: pbx\r\nSystemName: pbx\r\n", "SystemName: other\r\n", "SystemName:pbx\r\n", "Timestamp: x\r\n",
        TIMESTAMP + "SystemName: pbx\r\n", "SystemName: pbx\r\n" + TIMESTAMP, "Module: x\r\n", DEBUG[:40],
    ],
)  # fmt: skip
def test_another_framing_is_tampered(framing):
    events, tampered, *_ = read(stream(own_login(framing="SystemName: pbx\r\n"), failure(framing=framing)))
    assert (len(events), tampered) == (1, 1)


def test_blocks_before_our_own_login_are_judged_by_its_framing():
    system = "SystemName: pbx\r\n"
    early = [failure("first", system), failure("other", "SystemName: other\r\n"), REPLY, failure("beside", system)]
    events, tampered, _, replies = read(stream(*early, own_login(framing=system), failure("last", system)))
    assert [event.account for event in events] == ["first", "astguard", "last"]
    assert (tampered, replies) == (2, 1)


def test_the_login_of_another_user_shows_no_framing():
    reader = EventReader("astguard")
    assert reader.read([own_login("somebody")]) == []
    assert len(reader.read([own_login()])) == 2
    assert reader.own_login


def test_a_torn_block_cannot_bring_forth_our_own_login():
    """A forger who chose the framing would have every true event refused from then on."""
    reader = EventReader("astguard")
    forged = own_login(framing="SystemName: forged\r\n")
    assert reader.read([TORN, forged]) == []
    assert [event.account for event in reader.read([own_login(), failure("true")])] == ["true"]


def test_without_our_own_login_the_first_clean_event_shows_the_framing():
    reader = EventReader("astguard")
    system = "SystemName: pbx\r\n"
    assert reader.read([FOREIGN, failure("a", system)] * (EARLY_LIMIT // 2 - 1)) == []
    assert len(reader.read([FOREIGN, failure("b", system)])) == EARLY_LIMIT // 2
    assert len(reader.read([failure("c", system), failure("d")])) == 1
    assert reader.foreign == EARLY_LIMIT // 2
    assert reader.own_login is False


def test_a_forger_cannot_have_us_compile_an_endless_system_name(monkeypatch):
    compiled, real = [], amievent.grammar
    monkeypatch.setattr(amievent, "grammar", lambda framing: compiled.append(framing) or real(framing))
    reader = EventReader("astguard")
    reader.read([failure("a", f"SystemName: {'x-' * 1_000}\r\n"), failure("b", f"SystemName: {'x' * 64}\r\n")])
    assert [len(framing.system) for framing in compiled] == [64]


def test_foreign_blocks_alone_never_choose_the_framing():
    reader = EventReader("astguard")
    assert reader.read([FOREIGN] * (EARLY_LIMIT + 5)) == []
    assert reader.foreign == EARLY_LIMIT + 5
    system = "SystemName: pbx\r\n"
    assert len(reader.read([own_login(framing=system), failure("a", system)])) == 2


def test_early_blocks_are_kept_up_to_a_size():
    reader = EventReader("astguard")
    for _ in range(200):
        reader.read([failure("x" * 60_000)])
        assert reader._early_size <= amievent.EARLY_SIZE
        assert sum(map(len, reader._early)) == reader._early_size
    assert reader._early == []


def test_who_stops_waiting_gets_what_was_kept_and_loses_nothing_behind_it():
    reader = EventReader("astguard")
    system = "SystemName: pbx\r\n"
    reader.read([failure("a", system)])
    assert [event.account for event in reader.stop_waiting()] == ["a"]
    assert len(reader.read([failure("b", system)])) == 1

    reader = EventReader("astguard")
    assert reader.stop_waiting() == []
    assert len(reader.read([failure("b", system)])) == 1


# The neighbour rule.


def test_a_torn_block_costs_its_neighbour_and_no_more():
    assert accounts(failure("a"), TORN, failure("b"), failure("c")) == ["a", "c"]
    assert accounts(TORN, TORN, failure("b"), failure("c")) == ["c"]


@pytest.mark.parametrize("between", [FOREIGN, REPLY, "Response: Success", "Event: Foo\r\nPrivilege: call,all"])
def test_nothing_can_stand_between_a_torn_block_and_its_neighbour(between):
    assert accounts(TORN, between, failure("b"), failure("c")) == ["c"]
    assert accounts(TORN, *[between] * 5, failure("b"), failure("c")) == ["c"]


def test_a_foreign_block_behind_a_torn_one_is_tampered_too():
    assert read(stream(own_login(), FOREIGN, TORN, FOREIGN, failure(), failure(), FOREIGN))[1:3] == (3, 2)


def test_a_torn_success_counts_for_nobody():
    row = row_of("SuccessfulAuth")
    torn = ami(row, headers(row, AccountID="1\r\n01"))
    assert accounts(torn, ami(row), failure("c")) == ["c"]


@pytest.mark.parametrize(
    "block",
    [
        "", "x", "Event: ", "Event", "Event: ChallengeSent", "Event: ChallengeSent\r\nPrivilege: dialplan,all",
        "Event: FullyBooted\r\nPrivilege: security,all\r\nStatus: x", "Event: Foo\r\nPrivilege: security\r\nA: b",
        "Event: VarSet\r\nPrivilege: dialplan,all\r\nno colon", "Response: Success\r\nno colon", "Response: ",
        " " + FOREIGN, "\0" + FOREIGN, "\r\n" + FOREIGN, "Goodbye: x", "\r\n" + failure(), " " + failure(),
    ],
)  # fmt: skip
def test_what_is_no_event_no_reply_and_no_foreign_block_is_tampered(block):
    events, tampered, foreign, replies = read(stream(own_login(), block, failure("beside"), failure("after")))
    assert [event.account for event in events] == ["astguard", "after"]
    assert (tampered, foreign, replies) == (2, 0, 0)


def test_whole_blocks_of_other_classes_and_replies_are_counted_only():
    events, *counts = read(stream(own_login(), FOREIGN, failure("a"), REPLY, failure("b"), FOREIGN))
    assert [event.account for event in events] == ["astguard", "a", "b"]
    assert counts == [0, 2, 1]


def test_samples_are_few_short_and_hold_nothing_made_from_the_secret():
    row = row_of("ChallengeResponseFailed", "AMI")
    reader = EventReader("astguard")
    reader.read([own_login()])
    secret = VALUES["expected"]
    for _ in range(SAMPLES + 5):
        reader.read([ami(row) + "\r\nX: " + "y" * 5_000])
    assert len(reader.samples) == SAMPLES
    assert all(len(sample) <= SAMPLE_LIMIT + 3 for sample in reader.samples)
    assert not any(secret in sample for sample in reader.samples)
    assert reader.tampered == SAMPLES + 5


TOKENS = st.sampled_from(
    [own_login(), failure(), TORN, FOREIGN, REPLY, "\r\n", "\r\n\r\n", "\r", "Event: ", "Response: Success", ": ", "\0"]
)


@given(st.lists(TOKENS | st.text(max_size=12), max_size=14), st.integers(1, 300), st.binary(max_size=40))
def test_any_stream_in_any_pieces_gives_the_same_events(tokens, piece, noise):
    data = "\r\n\r\n".join(tokens).encode() + noise + stream("", own_login(), failure())
    assert read(data, piece) == read(data)


@given(st.lists(st.sampled_from([failure("x"), TORN, FOREIGN, REPLY, "garbage"]), max_size=30))
def test_an_event_is_believed_if_the_security_block_before_it_was_clean_by_itself(blocks):
    clean, expected = True, 0
    for block in blocks:
        if block == failure("x"):
            expected += clean
            clean = True
        elif block in {TORN, "garbage"}:
            clean = False
    assert len(accounts(*blocks)) == expected


SIP = row_of("FailedACL", "SIP")
UNKNOWN = row_of("InvalidAccountID")
POINTED = ami(UNKNOWN, headers(UNKNOWN, SessionID="0x7fe7d8003900", RemoteAddress="IPV4/TCP/192.0.2.9/5060"))


def sources(*blocks):
    reader = EventReader()
    events = reader.read([own_login(), *blocks])[1:]
    return [(event.service, event.session) for event in events], reader.tampered


@pytest.mark.parametrize("between", [(), ("Event: Hangup\r\nPrivilege: call,all",), ("Response: Success",)])
def test_the_second_half_of_a_chan_sip_event_is_not_believed_even_if_the_first_is_whole(between):
    assert sources(ami(SIP), *between, POINTED) == ([("SIP", "0x7f40880018d0")], 1)


def test_a_call_id_like_a_pointer_is_believed_behind_any_other_event():
    assert sources(ami(UNKNOWN), POINTED, POINTED) == (
        [("PJSIP", "2102227696"), ("PJSIP", "0x7fe7d8003900"), ("PJSIP", "0x7fe7d8003900")], 0,
    )  # fmt: skip


def test_only_the_one_behind_chan_sip_is_doubted():
    told, tampered = sources(ami(SIP), ami(UNKNOWN), ami(SIP), POINTED, ami(UNKNOWN), POINTED)
    assert tampered == 1
    assert [service for service, _ in told] == ["SIP", "PJSIP", "SIP", "PJSIP", "PJSIP"]
