"""nf_tables messages: golden bytes out, acks and element dumps in, whatever bytes come."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire import nfnetlink as wire
from guard.wire.nfnetlink import ElementWriter, Kind, Message
from tests.kernel.golden import HOST, MESSAGES, NET6, TRANSACTION, V4, V6


@pytest.mark.parametrize("command", MESSAGES)
def test_messages_are_the_golden_bytes_of_their_nft_command(command):
    written, golden = MESSAGES[command]
    assert written == [golden]


def test_a_transaction_is_the_golden_bytes():
    written, _ = MESSAGES["add element inet astguard all6_64 { 2001:db8:5:: timeout 10m }"]
    assert wire.transaction(written, 7) == TRANSACTION


def test_only_the_last_message_of_a_transaction_asks_for_an_ack():
    data = wire.transaction([Message(12, wire.CREATE, b"\1\0\0\0")] * 3, 40)
    seen = [(answer.type, answer.sequence, bool(answer.flags & wire.ACK)) for answer in wire.answers(data)]
    assert seen == [(16, 40, False), (0xA0C, 41, False), (0xA0C, 42, False), (0xA0C, 43, True), (17, 44, False)]


def test_a_question_goes_without_a_batch():
    assert wire.request(V4.listing(), 5)[:16] == struct.pack("=IHHII", 48, 0xA0D, wire.DUMP | wire.REQUEST, 5, 0)


@pytest.mark.parametrize(("writer", "key", "most"), [(V4, HOST, 2340), (V6, NET6, 1638)])
def test_a_message_carries_as_many_elements_as_fit_into_16_bits_of_length(writer, key, most):
    def spread(count):
        messages = writer.messages(Kind.NEW_ELEMENT, 0, writer.timed([(key, 1)] * count))
        return [len(list(wire.elements(message.body))) for message in messages]

    assert spread(most) == [most]
    assert spread(most + 1) == [most, 1]
    assert spread(20_000) == [most] * (20_000 // most) + [20_000 % most]
    assert spread(0) == []
    assert spread(1) == [1]


def test_an_element_never_gets_the_timeout_zero_which_means_never():
    assert V4.timed([(HOST, 0)]) == V4.timed([(HOST, 1)])


def _ack(sequence, error, flags=0, tail=b""):
    return struct.pack("=IHHIIi", 20 + len(tail), 2, flags, sequence, 4242, -error) + tail


def test_acks_and_refusals_are_told_apart_by_number():
    refusal = _ack(8, 17, tail=struct.pack("=IHHII", 76, 0xA0C, 5, 8, 0))
    assert [(answer.sequence, answer.errno) for answer in wire.answers(_ack(7, 0) + refusal + _ack(9, 2))] == [
        (7, 0),
        (8, 17),
        (9, 2),
    ]


def test_the_end_of_a_listing_can_carry_an_error_and_the_mark_of_an_interruption():
    (end,) = wire.answers(struct.pack("=IHHIIi", 20, 3, wire.DUMP_INTERRUPTED, 7, 0, -4))
    assert (end.type, end.errno, end.flags & wire.DUMP_INTERRUPTED) == (wire.NLMSG_DONE, 4, 0x10)
    (short,) = wire.answers(struct.pack("=IHHII", 16, 3, 0, 7, 0))
    assert short.errno == 0


def test_a_listing_gives_keys_and_milliseconds_left():
    timed = wire.attribute(1, wire.attribute(1, wire.attribute(1, HOST)) + wire.attribute(5, struct.pack(">Q", 59_968)))
    forever = wire.attribute(1, wire.attribute(1, wire.attribute(1, NET6)))
    body = wire.INET_HEADER + wire.attribute(1, b"astguard\0") + wire.attribute(3, timed + forever)
    assert list(wire.elements(body)) == [(HOST, 59_968), (NET6, None)]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"\x14\0\0", "3 bytes left"),
        (struct.pack("=IHHII", 15, 2, 0, 0, 0), "a netlink message of 15 bytes"),
        (struct.pack("=IHHII", 17, 2, 0, 0, 0), "a netlink message of 17 bytes"),
        (struct.pack("=IHHII", 16, 2, 0, 0, 0), "a netlink error of 16 bytes"),
    ],
)
def test_what_is_no_netlink_is_named(data, says):
    with pytest.raises(ValueError, match=says):
        list(wire.answers(data))


@pytest.mark.parametrize("length", [0, 3, 9])
def test_an_attribute_past_the_end_is_named(length):
    with pytest.raises(ValueError, match=f"a netlink attribute of {length} bytes"):
        list(wire.attributes(struct.pack("=HHI", length, 1, 0)))


@given(st.binary(max_size=200))
def test_any_bytes_give_answers_or_a_value_error(data):
    for read in (wire.answers, wire.attributes, wire.elements):
        with suppress(ValueError):
            list(read(data))


@given(st.lists(st.tuples(st.binary(min_size=4, max_size=4), st.integers(1, 2**40)), max_size=50))
def test_what_is_written_can_be_read_back(entries):
    body = b"".join(message.body for message in V4.messages(Kind.NEW_ELEMENT, 0, V4.timed(entries)))
    assert [key for key, _ in wire.elements(body)] == [key for key, _ in entries]


def test_keys_are_whole_registers():
    with pytest.raises(AssertionError):
        ElementWriter("astguard", "odd", 6)
