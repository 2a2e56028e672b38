"""The AMI client without IO: greeting, login, ping, and that any bytes give events or a ProtocolError."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import LoginRefused, ProtocolError
from guard.settings import values
from guard.settings.secretfile import secret_text
from guard.wire.ami import GREETING_LIMIT, AmiClient, State
from guard.wire.amievent import BLOCK_LIMIT, SAMPLES
from tests.blocks import failure, own_login

BANNER = b"Asterisk Call Manager/11.0.0\r\n"


def client(**options):
    return AmiClient("astguard", "s3cret", "token", **options)


def reply(action_id, *lines, response="Success"):
    return "\r\n".join([f"Response: {response}", f"ActionID: {action_id}", *lines, "\r\n"]).encode()


CHALLENGE = reply("token-1", "Challenge: 895951329")
ACCEPTED = reply("token-2", "Message: Authentication accepted")


def online():
    ami = client()
    for data in (BANNER, CHALLENGE, ACCEPTED):
        assert ami.receive(data) == []
    ami.data_to_send()
    assert ami.state is State.ONLINE
    return ami


def test_it_says_nothing_before_the_greeting():
    ami = client()
    assert (ami.state, ami.data_to_send()) == (State.GREETING, b"")


def test_login_by_challenge():
    ami = client()
    ami.receive(BANNER)
    assert (ami.state, ami.version) == (State.CHALLENGE, "11.0.0")
    assert ami.data_to_send() == b"Action: Challenge\r\nActionID: token-1\r\nAuthType: MD5\r\n\r\n"
    ami.receive(CHALLENGE)
    assert ami.state is State.LOGIN
    key = hashlib.md5(b"895951329s3cret").hexdigest().encode()
    assert ami.data_to_send() == (
        b"Action: Login\r\nActionID: token-2\r\nUsername: astguard\r\nAuthType: MD5\r\nKey: " + key + b"\r\n"
        b"Events: security\r\n\r\n"
    )
    ami.receive(ACCEPTED)
    assert (ami.state, ami.data_to_send()) == (State.ONLINE, b"")


def test_plain_login():
    ami = client(plain=True)
    ami.receive(BANNER)
    assert ami.data_to_send() == (
        b"Action: Login\r\nActionID: token-1\r\nUsername: astguard\r\nSecret: s3cret\r\nEvents: security\r\n\r\n"
    )
    ami.receive(reply("token-1", "Message: Authentication accepted"))
    assert ami.state is State.ONLINE


@pytest.mark.parametrize("trailing", [b"", b"Event: Chal", b"\r", b"\xff"])
def test_the_conversation_is_the_same_byte_by_byte_and_with_trailing_bytes(trailing):
    ami = client()
    events = []
    for data in (BANNER, CHALLENGE, ACCEPTED + f"{own_login()}\r\n\r\n{failure()}\r\n\r\n".encode() + trailing):
        events += by_byte(ami, data)
    assert ami.state is State.ONLINE
    assert [event.account for event in events] == ["astguard", "101"]


def test_the_banner_may_come_together_with_what_follows():
    ami = client()
    ami.receive(BANNER + CHALLENGE + ACCEPTED)
    assert ami.state is State.ONLINE


def by_byte(ami, data):
    return [event for at in range(len(data)) for event in ami.receive(data[at : at + 1])]


@pytest.mark.parametrize("version", ["1.0", "5.0.4", "11.0.0", "9", "1.2.3.4"])
def test_every_version_is_welcome(version):
    ami = client()
    ami.receive(f"Asterisk Call Manager/{version}\r\n".encode())
    assert ami.version == version


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n", b"SSH-2.0-OpenSSH_9.2\r\n", b"\r\n", b"\n", b"\0", b"\x15\x03\x01\0\x02\x02(",
        b"Asterisk Call Manager/\r\n", b"Asterisk Call Manager/x\r\n", b"Asterisk Call Manager/1.0 \r\n",
        b"Asterisk Call Manager/1.2.3.4.5\r\n", b"Asterisk Call Manager/12345\r\n", b" Asterisk Call Manager/1.0\r\n",
        b"Asterisk Call Manager/1.0\n\r\n", b"asterisk call manager/1.0\r\n", b"Event: x\r\n\r\n",
        b"Asterisk Call Manager/" + b"1" * GREETING_LIMIT, b"Asterisk Call Manager/\xff\xfe\r\n",
    ],
)  # fmt: skip
def test_another_greeting_is_another_server_whole_and_byte_by_byte(greeting):
    with pytest.raises(
        ProtocolError, match=r"greeted with .* not with 'Asterisk Call Manager/\.\.\.'; check that"
    ) as whole:
        client().receive(greeting)
    ami = client()
    with pytest.raises(ProtocolError):
        by_byte(ami, greeting)
    assert not isinstance(whole.value, LoginRefused)
    assert str(whole.value).isprintable()
    assert len(str(whole.value)) < 300
    assert ami.data_to_send() == b""


def test_a_greeting_without_end_is_waited_for_up_to_a_limit():
    ami = client()
    assert ami.receive(b"Asterisk Call Manager/") == []
    assert ami.receive(b"1") == []
    with pytest.raises(ProtocolError):
        ami.receive(b"1" * GREETING_LIMIT)


@pytest.mark.parametrize("at", ["challenge", "login"])
def test_a_refusal_says_why_and_what_to_do(at):
    ami = client()
    ami.receive(BANNER)
    if at == "login":
        ami.receive(CHALLENGE)
    action_id = "token-1" if at == "challenge" else "token-2"
    with pytest.raises(LoginRefused) as refusal:
        ami.receive(reply(action_id, "Message: Authentication \x1b[2Jfailed", response="Error"))
    text = str(refusal.value)
    assert "user 'astguard'" in text
    assert "manager.conf" in text
    assert text.isprintable()
    assert "s3cret" not in text


def test_a_reply_to_somebody_else_moves_nothing():
    ami = client()
    ami.receive(BANNER)
    for action_id in ("token-2", "other-1", "", "token-1 ", "TOKEN-1"):
        ami.receive(reply(action_id, "Challenge: 1"))
        ami.receive(reply(action_id, response="Error"))
    ami.receive(b"Response: Error\r\nMessage: no ActionID\r\n\r\n")
    assert ami.state is State.CHALLENGE
    ami.receive(CHALLENGE)
    assert ami.state is State.LOGIN


def test_a_reply_counts_once():
    ami = client()
    ami.receive(BANNER + CHALLENGE)
    ami.receive(CHALLENGE + CHALLENGE)
    assert ami.state is State.LOGIN
    ami = online()
    ami.receive(ACCEPTED + reply("token-2", response="Error"))
    assert ami.state is State.ONLINE


def test_a_ping_waits_for_its_own_answer():
    ami = online()
    assert not ami.ping_open
    ami.ping()
    assert ami.data_to_send() == b"Action: Ping\r\nActionID: token-3\r\n\r\n"
    ami.receive(reply("token-2", "Ping: Pong"))
    assert ami.ping_open
    ami.receive(reply("token-3", "Ping: Pong", "Timestamp: 1795352840.830842"))
    assert not ami.ping_open
    assert ami.reader.tampered == 0


def test_text_in_an_event_is_no_reply():
    """ChallengeResponseFailed has a header `Response` of its own, and a sender may guess no ActionID."""
    ami = online()
    ami.receive(f"{own_login()}\r\n\r\n".encode())
    ami.ping()
    events = ami.receive(f"{failure('ActionID: token-3', Response='Success')}\r\n\r\n".encode())
    assert [event.response for event in events] == ["Success"]
    assert ami.ping_open


def test_what_has_to_be_sent_is_given_once():
    ami = online()
    ami.ping()
    assert ami.data_to_send()
    assert ami.data_to_send() == b""


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\nEvents: off"])
def test_no_line_end_gets_into_an_action(end):
    for username, secret, plain in (("user" + end, "s", False), ("user", "s" + end, True)):
        ami = AmiClient(username, secret, "token", plain=plain)
        with pytest.raises(AssertionError):
            ami.receive(BANNER + CHALLENGE)
        assert end.encode() + b"\r\n" not in ami.data_to_send().replace(b"\r\n\r\n", b"")
    for check in (values.username, secret_text):
        with pytest.raises(ValueError, match=r"."):
            check("astguard" + end)


def test_the_peers_challenge_gets_into_an_action_only_as_a_hash():
    ami = client()
    ami.receive(BANNER)
    ami.data_to_send()
    ami.receive(reply("token-1", "Challenge: x\ry\nAction: Originate"))
    assert b"Originate" not in ami.data_to_send()


def test_the_secret_is_in_no_repr():
    assert "s3cret" not in repr(client())


WHOLE = BANNER + CHALLENGE + ACCEPTED + f"{own_login()}\r\n\r\n{failure()}\r\n\r\n".encode()
TOKENS = st.sampled_from(
    [BANNER, CHALLENGE, ACCEPTED, WHOLE, own_login().encode(), failure().encode(), b"\r\n\r\n", b"\r\n", b"Response: ",
     b"Response: \r\nActionID: token-1\r\n\r\n", b"ActionID: token-1", b"Event: ", reply("token-3", response="Error")]
)  # fmt: skip


@given(st.lists(TOKENS | st.binary(max_size=30), max_size=12), st.booleans(), st.booleans())
def test_any_bytes_give_events_or_a_protocol_error(pieces, greeted, plain):
    ami = client(plain=plain)
    try:
        for data in [BANNER, *pieces] if greeted else pieces:
            events = ami.receive(data)
            assert all(event.account in {"astguard", "101"} for event in events)
            ami.data_to_send()
    except ProtocolError as error:
        assert str(error).isprintable()  # noqa: PT017 - an error is allowed, not required
    assert len(ami._blocks._buffer) <= BLOCK_LIMIT
    assert len(ami._head) <= GREETING_LIMIT
    assert len(ami.reader.samples) <= SAMPLES
