"""Lines of the security log: the same events as on AMI; a line that broke costs itself and its neighbour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.wire.grammar import ROWS
from guard.wire.securitylog import LINE_LIMIT, SecurityLogReader
from tests.blocks import IDS, headers, log, row_of

PREFIX = "[2026-11-22 13:36:17] SECURITY[4711] res_security_log.c: "
CLEAN = PREFIX + log(row_of("ChallengeResponseFailed"))
NOTICE = "[2026-11-22 13:36:17] NOTICE[4711] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from 'x' failed"
TORN = CLEAN.replace('AccountID="101"', 'AccountID="1\n01"')


def read(data, piece=None):
    reader = SecurityLogReader()
    pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
    events = [event for part in pieces for event in reader.feed(part)] + reader.finish()
    return events, reader.tampered, reader.foreign


def lines(*texts):
    return "".join(text + "\n" for text in texts)


def accounts(text):
    return [event.account for event in read(text.encode())[0]]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_row_is_read_whole_byte_by_byte_and_with_trailing_bytes(row):
    data = (PREFIX + log(row) + "\n").encode()
    whole = read(data)
    assert [event.kind for event in whole[0]] == [row.kind]
    assert read(data, 1) == whole
    events, tampered, _ = read(data + data[:90])
    assert (events, tampered) == (whole[0], 1)


def test_a_last_line_without_its_end_is_read_at_the_end():
    reader = SecurityLogReader()
    assert reader.feed(CLEAN.encode()) == []
    assert len(reader.finish()) == 1
    assert reader.finish() == []


@pytest.mark.parametrize(
    "prefix",
    [
        "[Nov 22 13:36:17] SECURITY[4711] res_security_log.c: ",
        "[2026-11-22 13:36:17.588] SECURITY[1]: res_security_log.c: ".replace("]: ", "] "),
        "[2026-11-22 13:36:17] SECURITY[4711][C-0000001f] res_security_log.c: ",
    ],
)
def test_the_date_may_have_any_format_and_a_call_may_have_a_number(prefix):
    assert accounts(prefix + log(row_of("ChallengeSent")) + "\n") == ["101"]


@pytest.mark.parametrize(
    "prefix",
    ["", "x", " " + PREFIX, PREFIX + " ", PREFIX.replace("SECURITY", "security"), PREFIX.replace("[4711]", ""),
     PREFIX.replace("[4711]", "[]"), PREFIX.replace("[4711]", "[4711][C-xyz]"), "[] SECURITY[1] a.c: "],
)  # fmt: skip
def test_a_line_that_begins_otherwise_is_tampered(prefix):
    assert read((prefix + log(row_of("ChallengeSent")) + "\n").encode())[:2] == ([], 1)


def test_a_torn_line_costs_itself_and_its_neighbour_and_no_more():
    text = lines(CLEAN, TORN, CLEAN, CLEAN)
    assert accounts(text) == ["101", "101"]
    assert read(text.encode())[1] == 3  # two halves, one neighbour


def test_a_perfect_second_half_is_not_believed():
    forged = CLEAN.replace("198.51.100.7", "8.8.8.8")
    assert accounts(CLEAN.replace("101", "x\n" + forged + "\n") + "\n") == []


def test_lines_of_other_levels_are_foreign_and_do_not_stand_between():
    events, tampered, foreign = read(lines(NOTICE, CLEAN, TORN, NOTICE, CLEAN, CLEAN).encode())
    assert (len(events), tampered, foreign) == (2, 3, 2)


def test_bytes_that_are_no_text_are_kept_apart_from_text():
    assert accounts("") == []
    data = CLEAN.encode().replace(b"2102227696", b"21\xff\xfe96") + b"\n"
    events, tampered, _ = read(data)
    assert (len(events), tampered) == (1, 0)
    assert events[0].session == "21\udcff\udcfe96"


def test_a_carriage_return_is_part_of_a_value_and_none_of_the_end():
    row = row_of("ChallengeResponseFailed")
    assert accounts(PREFIX + log(row, headers(row, AccountID="a\rb")) + "\n") == ["a\rb"]
    assert accounts(CLEAN + "\r\n") == []


def test_a_line_without_end_takes_no_more_room_than_the_limit():
    reader = SecurityLogReader()
    for _ in range(10):
        reader.feed(b"x" * 50_000)
        assert len(reader._rest) <= LINE_LIMIT + 1
    assert reader.feed(b"\n") == []
    assert reader.tampered == 1


def test_a_line_over_the_limit_is_tampered_in_whatever_pieces_it_comes():
    row = row_of("ChallengeResponseFailed")
    for size, accepted in ((LINE_LIMIT - 1_000, 1), (LINE_LIMIT, 0), (LINE_LIMIT + 70_000, 0)):
        data = (PREFIX + log(row, headers(row, SessionID="x" * size)) + "\n").encode()
        for piece in (None, 4_096, 65_536):
            assert len(read(data, piece)[0]) == accepted, (size, piece)


TOKENS = st.sampled_from([CLEAN, TORN, NOTICE, "\n", '"', ",", "[", "]", "\r", PREFIX, 'AccountID="', CLEAN + "\n"])


@given(st.lists(TOKENS | st.text(max_size=20), max_size=12).map("".join), st.integers(1, 400), st.binary(max_size=30))
def test_any_bytes_in_any_pieces_give_the_same_and_no_exception(text, piece, noise):
    data = text.encode(errors="surrogatepass") + noise + b"\n" + (CLEAN + "\n").encode()
    assert read(data, piece) == read(data)
