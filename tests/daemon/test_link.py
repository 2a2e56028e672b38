"""The link to Asterisk, against a scripted one: it comes up, stays up, says what is wrong, and always comes back."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import logging
import random
import socket
from pathlib import Path

import pytest

from guard.core.event import Kind, Service
from guard.recordings import AmiCapture
from guard.sensors.amilink import Timing
from guard.wire.amievent import EARLY_LIMIT
from tests.daemon.linking import SECRET, client_tls, linked, run, server_tls, until
from tests.scripted_asterisk import BANNER, ScriptedAsterisk, events_of

CORPUS = Path(__file__).parents[1] / "corpus"
SVCRACK = (CORPUS / "22.10.1/pjsip-svcrack.ami").read_bytes()


@pytest.fixture(autouse=True)
def _no_secret_and_no_traceback_in_any_log(caplog):
    caplog.set_level(logging.DEBUG)
    yield
    assert SECRET not in caplog.text
    for record in caplog.records:
        if record.name.startswith("astguard"):
            assert "\n" not in record.getMessage()
            assert record.exc_info is None or "a fault of astguard" in record.getMessage()


def asterisk(**options):
    return ScriptedAsterisk(secret=SECRET, **options)


def warnings(caplog):
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "astguard.link" and record.levelno >= logging.WARNING
    ]


# It comes up.


def test_the_secret_crosses_an_open_connection_only_as_a_hash():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test and link.state == "up")
            assert (link.problem, link.asterisk) == ("", "11.0.0")
            challenge, login = pbx.actions[:2]
            assert (challenge["action"], challenge["authtype"]) == ("Challenge", "MD5")
            assert (login["action"], login["username"], login["events"]) == ("Login", "astguard", "security")
            assert "secret" not in login
            assert len(login["key"]) == 32

    run(story())


def test_inside_tls_one_plain_login_is_enough():
    async def story():
        async with asterisk(tls=server_tls()) as pbx, linked(pbx.port, tls=client_tls(), host="localhost") as link:
            await until(lambda: link.self_test)
            assert [(action["action"], action["secret"]) for action in pbx.actions] == [("Login", SECRET)]

    run(story())


@pytest.mark.parametrize("framing", ["", "SystemName: pbx\r\n", "Timestamp: 1795355185.494328\r\nSystemName: a b\r\n"])
@pytest.mark.parametrize("own_login", ["before", "after"])
def test_our_own_login_comes_back_and_proves_the_path(own_login, framing):
    async def story():
        async with asterisk(own_login=own_login, framing=framing) as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            await pbx.send(pbx.event("InvalidAccountID"))
            await until(lambda: len(link.got) == 2)
            assert [event.service for event in link.got] == [Service.AMI, Service.PJSIP]
            assert link.counts["tampered"] == 0

    run(story())


def test_a_user_without_read_security_is_told_what_to_do(caplog):
    async def story():
        async with asterisk(read_security=False) as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test is False)
            assert link.state == "up"
            assert "'astguard' needs 'read = security' in manager.conf" in link.problem
            assert "manager reload" in link.problem

    run(story())
    assert len(warnings(caplog)) == 1


def test_an_own_login_that_comes_late_mends_the_self_test():
    async def story():
        async with asterisk(own_login="never") as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test is False)
            tail = "UsingPassword: 0\r\nSessionTV: 2026-11-22T13:40:48.707+0000"
            await pbx.send(pbx.event("SuccessfulAuth", "AMI", "astguard", "IPV4/TCP/127.0.0.1/50862", tail))
            await until(lambda: link.self_test)
            assert link.problem == ""

    run(story())


def test_events_are_not_withheld_when_the_own_login_never_comes():
    async def story():
        async with asterisk(own_login="never", framing="SystemName: pbx\r\n") as pbx, linked(pbx.port) as link:
            await pbx.logged_in()
            await pbx.send(pbx.event("InvalidAccountID", account="early"))
            await until(lambda: link.self_test is False)
            await pbx.send(pbx.event("InvalidAccountID", account="late"))
            await until(lambda: len(link.got) == 2)
            assert [event.account for event in link.got] == ["early", "late"]

    run(story())


# It says what is wrong: what was seen, what was expected, what to do.


def problem_with(story_of_peer, **options):
    """Return what a link says about a peer, an async context manager with a port."""

    async def story():
        async with story_of_peer as peer, linked(peer.port, **options) as link:
            await until(lambda: link.problem)
            return link.state, link.problem

    return run(story())


def test_wrong_credentials(caplog):
    state, problem = problem_with(asterisk(), secret="wrong-one")
    assert state == "refused"
    assert "refused the login of AMI user 'astguard': 'Authentication failed'" in problem
    assert "compare username and secret with manager.conf" in problem
    assert "wrong-one" not in caplog.text


def test_a_wrong_secret_inside_tls():
    state, problem = problem_with(asterisk(tls=server_tls()), secret="wrong", tls=client_tls(), host="localhost")
    assert (state, "refused the login" in problem) == ("refused", True)


@pytest.mark.parametrize(
    ("greeting", "seen"),
    [
        (b"HTTP/1.1 400 Bad Request\r\nServer: nginx\r\n\r\n", "HTTP/1.1 400 Bad Request"),
        (b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", "SSH-2.0-OpenSSH_9.2p1 Debian-2"),
        (b"220 mail ESMTP\r\n", "220 mail ESMTP"),
        (b"\x16\x03\x01\xff\xfe\x1b[2J\r\n", r"\\xfe\\x1b[2J"),
        (b"Asterisk Call Manager/" + b"9" * 400, "Asterisk Call Manager/999"),
        (b"Asterisk Call Manager/x\r\n", "Asterisk Call Manager/x"),
    ],
)
def test_another_server_is_named_by_its_greeting(greeting, seen):
    state, problem = problem_with(asterisk(greeting=greeting))
    assert state == "lost"
    assert seen in problem
    assert "not with 'Asterisk Call Manager/...'; check that ami.host and ami.port name the AMI" in problem
    assert problem.isprintable()
    assert len(problem) < 300


def test_a_silent_peer():
    state, problem = problem_with(asterisk(greeting=b""), timing=Timing(connect=0.05))
    assert state == "lost"
    assert "connected, but no login" in problem
    assert "ami.port" in problem
    assert "ami.tls" in problem


def test_a_peer_that_speaks_tls_when_we_do_not():
    _, problem = problem_with(asterisk(tls=server_tls()), timing=Timing(connect=0.05))
    assert "connected, but no login" in problem
    assert "ami.tls" in problem


def test_a_peer_that_does_not_speak_tls_when_we_do():
    _, problem = problem_with(asterisk(), tls=client_tls(), host="localhost")
    assert "does not speak TLS" in problem
    assert "ami.tls" in problem


def test_a_silent_peer_when_we_speak_tls():
    timing = Timing(connect=0.05)
    _, problem = problem_with(asterisk(greeting=b""), tls=client_tls(), host="localhost", timing=timing)
    assert "TLS" in problem
    assert "ami.tls" in problem


def test_a_certificate_that_nobody_we_trust_signed():
    _, problem = problem_with(asterisk(tls=server_tls()), tls=client_tls(trusting=False), host="localhost")
    assert "the certificate is not trusted" in problem
    assert "ami.tls_ca" in problem


def test_a_certificate_for_another_name():
    _, problem = problem_with(asterisk(tls=server_tls()), tls=client_tls(), host="127.0.0.2")
    assert "the certificate is not trusted" in problem or "refused" in problem


def test_nobody_listens(unused_port):
    async def story():
        async with linked(unused_port) as link:
            await until(lambda: link.problem)
            assert link.state == "lost"
            assert "connection refused; is Asterisk running, with 'enabled = yes' in manager.conf?" in link.problem

    run(story())


def test_a_host_that_has_no_address(monkeypatch):
    async def no_answer(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def story():
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", no_answer)
        async with linked(5038, host="pbx.invalid") as link:
            await until(lambda: link.problem)
            assert link.problem == "Name or service not known; check ami.host and ami.port"

    run(story())


def test_a_peer_that_hangs_up_before_the_login():
    async def story():
        pbx = asterisk()
        async with pbx:
            pbx._converse = hang_up
            async with linked(pbx.port) as link:
                await until(lambda: link.problem)
                assert "closed the connection before the login" in link.problem
                assert "manager.conf" in link.problem

    async def hang_up(session, reader):
        pass

    run(story())


@pytest.fixture
def unused_port():
    async def find():
        async with asterisk() as pbx:
            return pbx.port

    return run(find())


# It comes back.


def test_a_refused_login_is_tried_again_later_and_later():
    async def story():
        timing = Timing(refused=(0.02, 0.08), lost=(5, 5))
        async with asterisk() as pbx:
            pbx.refusing = True
            async with linked(pbx.port, timing=timing) as link:
                await until(lambda: len(pbx.connections) == 5)
                assert gaps(pbx)[:4] == later_than(0.02, 0.04, 0.08, 0.08)
                assert link.counts["link.refused"] >= 4
                pbx.refusing = False
                await until(lambda: link.state == "up")
                assert link.problem == ""

    run(story())


def test_a_lost_link_is_tried_again_for_ever_and_from_the_start_after_a_success():
    async def story():
        timing = Timing(lost=(0.01, 0.64))
        async with asterisk(greeting=b"SSH\r\n") as pbx, linked(pbx.port, timing=timing) as link:
            await until(lambda: len(pbx.connections) == 6)
            assert gaps(pbx)[:5] == later_than(0.01, 0.02, 0.04, 0.08, 0.16)
            pbx.greeting = BANNER
            await until(lambda: link.self_test)
            cut_at = asyncio.get_running_loop().time()
            pbx.cut()
            await until(lambda: link.counts["link.made"] == 2)
            assert pbx.connections[-1] - cut_at < 0.3
            assert link.counts["link.lost"] == 1

    run(story())


def gaps(pbx):
    times = pbx.connections
    return [later - earlier for earlier, later in itertools.pairwise(times)]


def later_than(*waits):
    """Equal a list of gaps none of which is shorter than its wait; a busy machine may make them longer."""

    class Waits:
        def __eq__(self, got):
            return len(got) == len(waits) and all(gap >= wait - 0.002 for gap, wait in zip(got, waits, strict=True))

        __hash__ = None

        def __repr__(self):
            return f"gaps of at least {waits}"

    return Waits()


def test_an_asterisk_that_is_started_again_is_found_again():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            await pbx.stop()
            await until(lambda: "connection refused" in link.problem)
            assert link.state == "lost"
            await pbx.start()
            await until(lambda: link.self_test)
            await pbx.play(SVCRACK)
            await until(lambda: len(link.got) == 2 + 22)

    run(story())


def test_a_hung_asterisk_is_noticed_by_its_silence():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await pbx.asked("Ping", 2)
            assert link.state == "up"
            pbx.hang()
            await until(lambda: link.state == "lost")
            assert "did not answer a Ping" in link.problem
            pbx.recover()
            await until(lambda: link.state == "up")

    run(story())


def test_an_asterisk_too_busy_for_a_pong_is_not_hung_while_events_come():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            pbx.hang()  # answers nothing more; the events still come
            for _ in range(25):
                await pbx.send(pbx.event("InvalidAccountID"))
                await asyncio.sleep(0.02)
            assert link.state == "up"
            assert link.counts["link.lost"] == 0

    run(story())


@pytest.mark.parametrize("own_login", ["before", "after"])
def test_it_stops_even_in_the_instant_in_which_it_comes_up(own_login):
    """Python 3.11's wait_for() lost such a cancellation, and the daemon's stop waited for ever."""

    async def story():
        async with asterisk(own_login=own_login) as pbx:
            tasks = []
            async with linked(pbx.port, lambda _: tasks[0].cancel(), ends=True) as link:
                tasks.append(link.task)
                await asyncio.wait(tasks)

    run(story())


def test_an_event_cut_off_with_its_link_is_dropped_and_the_next_link_is_clean():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            pbx.cut(pbx.event("InvalidAccountID")[:150])
            await until(lambda: link.counts["link.made"] == 2 and link.self_test)
            await pbx.send(pbx.event("InvalidAccountID", account="whole"))
            await until(lambda: len(link.got) == 3)
            assert link.got[-1].account == "whole"
            assert link.counts["tampered"] == 0

    run(story())


def test_each_trouble_is_told_once_until_the_link_was_up_again(caplog):
    async def story():
        async with asterisk() as pbx:
            pbx.refusing = True
            async with linked(pbx.port) as link:
                await until(lambda: link.counts["link.refused"] >= 4)
                pbx.greeting = b"SSH\r\n"
                await until(lambda: "SSH" in link.problem)
                await until(lambda: len(pbx.connections) > 8)
                assert len(warnings(caplog)) == 2  # the refusal, and the wrong server
                pbx.greeting, pbx.refusing = BANNER, False
                await until(lambda: link.state == "up")
                pbx.refusing = True
                pbx.cut()
                await until(lambda: link.state == "refused")
                said = warnings(caplog)[2:]
                assert ["closed the connection" in said[0], "refused the login" in said[1]] == [True, True]

    run(story())


# What it brings.


@pytest.mark.parametrize("piece", [1, 7, 100, 70_000])
def test_events_in_any_cuts_of_the_stream_arrive_in_order(piece):
    async def story():
        blocks = events_of(SVCRACK)
        async with asterisk(framing="SystemName: lab22\r\n") as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            await pbx.send(b"\r\n\r\n".join([*blocks, b""]), piece=piece)
            await until(lambda: len(link.got) == 1 + len(blocks))
            assert link.got[1:] == read(SVCRACK)[1:]

    run(story())


def read(recording):
    capture = AmiCapture()
    return capture.feed(recording) + capture.finish()


def test_events_cut_at_random_arrive_in_order():
    async def story():
        dice = random.Random(7)
        blocks = events_of(SVCRACK) * 20
        data = b"\r\n\r\n".join([*blocks, b""])
        async with asterisk(framing="SystemName: lab22\r\n") as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            while data:
                size = dice.randint(1, 3000)
                await pbx.send(data[:size])
                data = data[size:]
                await asyncio.sleep(0)
            await until(lambda: len(link.got) == 1 + len(blocks))
            assert link.got[1:] == read(SVCRACK)[1:] * 20

    run(story())


def test_the_lag_is_the_age_of_the_newest_event():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            assert link.lag_ms < 5_000
            await pbx.send(pbx.event("InvalidAccountID", tv="2001-09-09T01:46:40.000+0000"))
            await until(lambda: len(link.got) == 2)
            assert link.lag_ms > 20 * 365 * 86_400_000
            await pbx.send(pbx.event("InvalidAccountID", tv="2099-01-01T00:00:00.000+0000"))
            await until(lambda: len(link.got) == 3)
            assert link.lag_ms == 0
            assert len(link.lags) == 3
            assert link.lags.counts[-1] == 1  # past the last bound
            assert link.lags.counts[0] >= 1  # of the future, and not below nought

    run(story())


def test_the_lag_of_every_event_is_counted_however_they_arrive():
    """In one piece they are counted as a run, byte by byte one by one; a piece may hold old ones and new ones."""

    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            old, ancient = "2001-09-09T01:46:40.000+0000", "1999-09-09T01:46:40.000+0000"
            piece = b"".join(
                pbx.event("InvalidAccountID", tv=tv) for tv in (ancient, old, "2099-01-01T00:00:00.000+0000")
            )
            await pbx.send(piece)
            await until(lambda: len(link.got) == 4)
            await pbx.send(pbx.event("InvalidAccountID", tv=old) * 5)
            await until(lambda: len(link.got) == 9)
            assert len(link.lags) == 9
            assert link.lags.counts[-1] == 7

    run(story())


def test_tampered_blocks_are_counted_and_kept_without_what_the_secret_can_be_guessed_from():
    async def story():
        expected = hashlib.md5(b"895951329" + SECRET.encode()).hexdigest()
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            tail = f"Challenge: 895951329\r\nResponse: 00\r\nExpectedResponse: {expected}\r\nMore: x"
            torn = pbx.event("ChallengeResponseFailed", "AMI", "", "IPV4/TCP/198.51.100.7/9", tail)
            await pbx.send(torn + pbx.event("InvalidAccountID", account="beside"))
            await pbx.send(pbx.event("InvalidAccountID", account="clean"))
            await until(lambda: len(link.got) == 2)
            assert link.got[-1].account == "clean"
            assert link.counts["tampered"] == 2
            assert expected not in "".join(link.samples)
            assert "ExpectedResponse: ..." in link.samples[0]
            assert "beside" in link.samples[1]

    run(story())


def test_a_fault_of_ours_costs_its_batch_and_never_the_link(caplog):
    got = []

    def stumble(events):
        got.extend(events)
        if events[-1].account == "stone":
            raise RuntimeError("a bug")

    async def story():
        async with asterisk() as pbx, linked(pbx.port, stumble) as link:
            await until(lambda: link.self_test)
            for count, account in enumerate(("stone", "stone", "after"), 2):
                await pbx.send(pbx.event("InvalidAccountID", account=account))
                await until(lambda count=count: len(got) == count)
            assert link.state == "up"
            assert link.counts["link.made"] == 1
            assert link.counts["events.lost"] == 2

    run(story())
    said = [record for record in caplog.records if record.exc_info]
    assert [record.getMessage() for record in said] == ["a fault of astguard itself, please report it"]  # once a minute


def test_a_fault_in_the_reader_is_told_and_the_link_comes_back(caplog, monkeypatch):
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            with monkeypatch.context() as patch:
                patch.setattr("guard.wire.amievent.EventReader.read", lambda *_: 1 / 0)
                await pbx.send(pbx.event("InvalidAccountID"))
                await until(lambda: link.state == "lost")
                assert "a fault of astguard" in link.problem
            await until(lambda: link.self_test)

    run(story())


def test_a_flood_before_the_own_login_is_not_kept_without_end():
    async def story():
        async with asterisk(own_login="never") as pbx, linked(pbx.port, timing=Timing(self_test=60)) as link:
            await pbx.logged_in()
            await pbx.send(pbx.event("InvalidAccountID") * EARLY_LIMIT)
            await until(lambda: len(link.got) == EARLY_LIMIT)
            await pbx.send(pbx.event("SuccessfulAuth", tail="UsingPassword: 1"))
            await until(lambda: link.got[-1].kind is Kind.SUCCESSFUL_AUTH)

    run(story())


def test_the_secret_is_in_no_repr():
    async def story():
        async with asterisk() as pbx, linked(pbx.port) as link:
            await until(lambda: link.self_test)
            for thing in (link, link.endpoint, vars(link)):
                assert SECRET not in repr(thing)

    run(story())
