"""Lines of the security log: the same events as on AMI; a line that broke costs itself and its neighbour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.core.event import Sensor
from guard.wire.grammar import ROWS
from guard.wire.loglines import MESSAGE_LIMIT
from guard.wire.securitylog import SecurityLogReader
from tests.blocks import IDS, headers, log, row_of

PREFIX = "[2026-11-22 13:36:17] SECURITY[4711] res_security_log.c: "
CLEAN = PREFIX + log(row_of("ChallengeResponseFailed"))
NOTICE = "[2026-11-22 13:36:17] NOTICE[4711] res_pjsip/pjsip_distributor.c: Request 'REGISTER' from 'x' failed"
TORN = CLEAN.replace('AccountID="101"', 'AccountID="1\n01"')


def read(data, piece=None):
    reader = SecurityLogReader()
    pieces = [data] if piece is None else [data[at : at + piece] for at in range(0, len(data), piece)]
    events = [event for part in pieces for event in reader.feed(part)] + reader.finish()
    return events, reader.tampered, reader.doubted


def lines(*texts):
    return "".join(text + "\n" for text in texts)


def accounts(text):
    return [event.account for event in read(text.encode())[0]]


@pytest.mark.parametrize("row", ROWS, ids=IDS)
def test_each_row_is_read_whole_byte_by_byte_and_with_trailing_bytes(row):
    data = (PREFIX + log(row) + "\n").encode()
    whole = read(data)
    assert [(event.kind, event.sensor) for event in whole[0]] == [(row.kind, Sensor.SECURITY)]
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
        "[2026-11-22 13:36:17.588] SECURITY[1] res_security_log.c: ",
        "[2026-11-22 13:36:17.588] SECURITY[1]: res_security_log.c:114 security_event_stasis_cb: ",
        "Nov 22 13:36:17 pbx asterisk[812]: SECURITY[1]: res_security_log.c:114 in security_event_stasis_cb: ",
        "[2026-11-22 13:36:17] SECURITY[4711][C-0000001f] res_security_log.c: ",
    ],
)
def test_the_date_may_have_any_format_and_a_call_may_have_a_number(prefix):
    assert accounts(prefix + log(row_of("ChallengeSent")) + "\n") == ["101"]


@pytest.mark.parametrize(
    "prefix",
    ["", "x", " " + PREFIX, PREFIX + " ", PREFIX.replace("SECURITY", "security"), PREFIX.replace("[4711]", ""),
     PREFIX.replace("[4711]", "[]"), PREFIX.replace("[4711]", "[4711][C-xyz]"), "[] SECURITY[1] a.c: ",
     PREFIX.replace("res_security_log.c", "app_log.c")],
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


def test_in_a_log_of_all_levels_a_line_is_believed_only_far_from_the_others():
    events, tampered, doubted = read(lines(CLEAN, NOTICE, CLEAN, TORN, NOTICE, CLEAN, CLEAN).encode())
    assert (len(events), tampered, doubted) == (1, 3, 2)  # one before the first of them
    quiet = lines(NOTICE, *[CLEAN] * 40)
    near = sum(1 for number in range(40) if (number + 1) * (len(CLEAN) + 1) < MESSAGE_LIMIT)
    assert [len(read(quiet.encode())[0]), read(quiet.encode())[2]] == [40 - near, near]


def test_a_line_in_a_text_of_another_level_is_not_believed():
    forged = CLEAN.replace("198.51.100.7", "8.8.8.8")
    broken = NOTICE.removesuffix("' failed")
    assert accounts(lines(CLEAN, broken, forged, forged, forged)) == ["101"]


def test_the_line_with_which_asterisk_opens_the_file_is_no_other_line():
    banner = "[2026-11-22 13:36:17] Asterisk 22.10.1 built by nobody @ buildd on a x86_64 running Linux on 2026-08-06"
    assert accounts(lines(banner, CLEAN)) == ["101"]


def test_bytes_that_are_no_text_are_kept_apart_from_text():
    assert accounts("") == []
    data = CLEAN.encode().replace(b"2102227696", b"21\xff\xfe96") + b"\n"
    events, tampered, _ = read(data)
    assert (len(events), tampered) == (1, 0)
    assert events[0].session == r"21\xff\xfe96"


def test_a_carriage_return_is_part_of_a_value_and_none_of_the_end():
    row = row_of("ChallengeResponseFailed")
    assert accounts(PREFIX + log(row, headers(row, AccountID="a\rb")) + "\n") == ["a\rb"]
    assert accounts(CLEAN + "\r\n") == []


def test_a_line_as_long_as_one_that_was_cut_is_tampered_in_whatever_pieces_it_comes():
    row = row_of("ChallengeResponseFailed")
    room = MESSAGE_LIMIT - 1 - len(PREFIX + log(row, headers(row, SessionID="")))
    for size, accepted in ((room, 1), (room + 1, 0), (70_000, 0)):
        data = (PREFIX + log(row, headers(row, SessionID="x" * size)) + "\n").encode()
        for piece in (None, 1_000, 65_536):
            assert len(read(data, piece)[0]) == accepted, (size, piece)


def test_a_line_that_goes_on_in_a_file_that_is_gone_costs_its_neighbour():
    reader = SecurityLogReader()
    reader.feed(CLEAN[:50].encode())
    reader.interrupt()
    assert len(reader.feed(lines(CLEAN, CLEAN).encode())) == 1


TOKENS = st.sampled_from([CLEAN, TORN, NOTICE, "\n", '"', ",", "[", "]", "\r", PREFIX, 'AccountID="', CLEAN + "\n"])


@given(st.lists(TOKENS | st.text(max_size=20), max_size=12).map("".join), st.integers(1, 400), st.binary(max_size=30))
def test_any_bytes_in_any_pieces_give_the_same_and_no_exception(text, piece, noise):
    data = text.encode(errors="surrogatepass") + noise + b"\n" + (CLEAN + "\n").encode()
    assert read(data, piece) == read(data)
