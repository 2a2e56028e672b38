"""One login to see whether our own event comes back, against a scripted Asterisk and against what is none."""

from __future__ import annotations

import asyncio

import pytest

from guard.errors import HostError
from guard.host.amiprobe import hear_own_login
from tests.scripted_asterisk import ScriptedAsterisk


def probe(seconds=5.0, secret="s3cret", **asterisk):
    """Log in once and give what was heard, or why nothing was."""

    async def run():
        async with ScriptedAsterisk(**asterisk) as server:
            return await asyncio.to_thread(
                hear_own_login, "127.0.0.1", server.port, "astguard", secret, token="word", seconds=seconds
            )

    try:
        return asyncio.run(run())
    except HostError as error:
        return str(error)


@pytest.mark.parametrize("where", ["after", "before"])
def test_the_own_login_comes_back_with_its_time(where):
    heard = probe(own_login=where)
    assert (heard.version, heard.own_login) == ("11.0.0", True)
    assert abs(heard.ahead_ms) < 2_000


def test_a_user_without_the_right_logs_in_and_hears_nothing():
    heard = probe(read_security=False, seconds=0.5)
    assert (heard.own_login, heard.ahead_ms) == (False, None)


def test_a_wrong_secret_is_refused_with_a_remedy():
    said = probe(secret="wrong")
    assert "Asterisk refused the login of AMI user 'astguard'" in said
    assert "compare username and secret" in said


@pytest.mark.parametrize(
    ("greeting", "says"),
    [
        (b"", "connected, but no login within time"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "the peer greeted with 'SSH-2.0-OpenSSH_9.2'"),
    ],
)
def test_a_peer_that_is_no_asterisk_is_told_of(greeting, says):
    assert says in probe(greeting=greeting, seconds=0.5)


def test_nobody_there():
    with pytest.raises(HostError, match=r"no login at AMI on 127\.0\.0\.1:1: Connection refused"):
        hear_own_login("127.0.0.1", 1, "astguard", "x", token="word", seconds=0.5)
