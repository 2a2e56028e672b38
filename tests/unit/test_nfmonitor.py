"""The monitor's datagrams: golden bytes of what others do to our table, and whatever else may come."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire.nfmonitor import ELEMENTS_LIMIT, LOST, MonitorReader, Notices
from guard.wire.nfnetlink import attribute
from tests.kernel.golden import HOST, MONITORED, OTHER

OURS, THEIRS = 4242, 17387


def message(kind, body, port=THEIRS):
    return struct.pack("=IHHII", 16 + len(body), 0xA00 | kind, 0, 1, port) + body + b"\0" * (-len(body) % 4)


def about(kind, table=b"astguard\0", family=1, more=b"", port=THEIRS):
    return message(kind, bytes((family, 0, 0, 3)) + attribute(1, table) + more, port)


def generation(name=b"nft\0", pid=321, port=THEIRS):
    body = b"\0\0\0\3" + attribute(1, b"\0\0\0\3") + attribute(2, struct.pack(">I", pid)) + attribute(3, name)
    return message(15, body, port)


def element(key, left=None):
    timeout = b"" if left is None else attribute(4, struct.pack(">Q", 9)) + attribute(5, struct.pack(">Q", left))
    return attribute(1, attribute(1, attribute(1, key)) + timeout)


def elements(kind, *entries, name=b"all4_32\0", port=THEIRS):
    return about(kind, more=attribute(2, name) + attribute(3, b"".join(entries)), port=port)


def read(*datagrams, own=(OURS,)):
    notices, reader = Notices(), MonitorReader("astguard", own)
    for datagram in datagrams:
        reader.read(datagram, notices)
    return notices


@pytest.mark.parametrize("command", MONITORED)
def test_golden_datagrams_say_what_their_command_did(command):
    datagrams, expected = MONITORED[command]
    notices = read(*datagrams)
    assert (notices.shape, notices.elements, notices.by, notices.overflow) == (*expected, False)


@pytest.mark.parametrize("kind", [0, 2, 3, 5, 6, 8, 9, 11, 18, 20, 22, 24, 25])
def test_whatever_is_made_changed_or_deleted_in_our_table_changes_its_shape(kind):
    assert read(about(kind)).shape


@pytest.mark.parametrize("kind", [1, 4, 7, 10, 13, 16, 17, 19, 21])
def test_questions_and_traces_change_nothing(kind):
    assert not read(about(kind))


@pytest.mark.parametrize(
    "datagram",
    [
        about(2, table=b"astguards\0"),
        about(2, table=b"firewall\0"),
        about(2, family=2),
        about(2, port=OURS),
        elements(14, element(HOST), port=OURS),
        message(2 | 0x100, b"\1\0\0\3" + attribute(1, b"astguard\0")),  # of another subsystem of netfilter
        about(6, table=b"firewall\0", more=attribute(2, b"astguard\0")),  # a chain of that name, elsewhere
    ],
)
def test_what_is_not_about_our_table_or_was_done_by_us_is_no_news(datagram):
    assert not read(datagram, generation())
    assert read(datagram, generation()).by == ""


def test_elements_are_told_with_their_last_state():
    notices = read(
        elements(14, element(HOST, 5), element(OTHER)),
        elements(12, element(HOST, 60_000)),
        elements(12, element(b"x" * 4)),
    )
    assert notices.elements == {("all4_32", HOST): 60_000, ("all4_32", OTHER): LOST, ("all4_32", b"xxxx"): None}
    assert not notices.shape


def test_who_did_it_is_told_by_the_end_of_the_transaction_even_in_a_datagram_of_its_own():
    assert read(about(2), generation()).by == "nft, pid 321"
    assert read(about(2) + generation(b"ufw\0")).by == "ufw, pid 321"


def test_who_did_something_elsewhere_later_is_not_blamed():
    assert read(about(2), generation(), generation(b"innocent\0")).by == "nft, pid 321"


def test_the_name_of_a_process_is_hostile_text():
    assert read(about(2), generation(b"\x1b[2Jnft\n\0")).by == "\\x1b[2Jnft\\n, pid 321"
    assert read(about(2), generation(b"\xff\xfe" * 200)).by.endswith("…, pid 321")
    assert read(about(2), message(15, b"\0\0\0\3")).by == "somebody"


def test_more_elements_than_the_limit_are_an_overflow():
    many = [element(number.to_bytes(4, "big")) for number in range(ELEMENTS_LIMIT + 1)]
    datagrams = [elements(14, *many[start : start + 1_000]) for start in range(0, len(many), 1_000)]
    notices = read(*datagrams)
    assert (len(notices.elements), notices.overflow) == (ELEMENTS_LIMIT, True)
    assert not read(*datagrams[:-1]).overflow


@pytest.mark.parametrize(
    "datagram",
    [
        about(2)[:-3],
        about(2) + b"\0" * 7,
        about(2) + struct.pack("=IHHII", 15, 0xA02, 0, 1, 9) + b"\1\0\0\0",
        about(2) + struct.pack("=IHHII", 0, 0xA02, 0, 1, 9) + b"\1\0\0\0",
        about(2, more=struct.pack("=HH", 100, 2)),
        about(2, more=struct.pack("=HH", 3, 2)),
    ],
)
def test_what_is_no_netlink_is_refused(datagram):
    with pytest.raises(ValueError, match=r"expected"):
        read(datagram)


@given(st.binary(max_size=200), st.booleans())
def test_any_bytes_are_read_or_refused(data, named):
    with suppress(ValueError):
        read(data + b"astguard\0" if named else data)


@given(st.data())
def test_a_golden_datagram_that_was_damaged_is_read_or_refused(data):
    whole = about(6) + elements(14, element(HOST, 5)) + generation()
    place = data.draw(st.integers(0, len(whole) - 1))
    damaged = whole[:place] + bytes((data.draw(st.integers(0, 255)),)) + whole[place + 1 :]
    with suppress(ValueError):
        read(damaged, damaged[: data.draw(st.integers(0, len(damaged)))])
