"""Notices against real servers that fail: webhook over HTTP, mail over SMTP. Each notice arrives once, or is given up."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from guard.supplements import outbox, webhook
from guard.supplements.contract import Alarm, Ban
from guard.supplements.mail import Mail
from guard.supplements.notice import NotSent
from guard.supplements.outbox import Notice
from guard.supplements.webhook import Webhook

BAN = Ban("198.51.100.7", "guessing", "all", "proven", 2, 5, 9, 3600.0, stored=True)
ALARM = Alarm("muted", "somebody hides", None, None, None, "2026-01-01")
NOTICE = Notice((BAN,), (), 0)


class Server(ThreadingHTTPServer):
    """Answers each request as the next word says: a status, `hang`, `drip`, `cut`, `junk`; the last one for ever."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, *words):
        self.words, self.got, self.came = list(words), [], threading.Semaphore(0)
        self.over = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}/hooks/s3cret?k=s3cret"

    def wait(self, number=1):
        for _ in range(number):
            assert self.came.acquire(timeout=15), "no request"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server = self.server
        word = server.words.pop(0) if len(server.words) > 1 else server.words[0]
        server.got.append((self.path, dict(self.headers), body))
        if word == "hang":
            server.over.wait(30)
        elif word == "drip":
            self.wfile.write(b"HTTP/1.1 ")
            while not server.over.wait(0.05):
                self.wfile.write(b"a")
        elif word == "junk":
            self.wfile.write(b"\x1b[2J not HTTP s3cret\r\n\r\n")
        elif word != "cut":
            self.send_response(word)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
        self.close_connection = True
        server.came.release()

    def handle(self):
        with suppress(OSError):
            super().handle()

    def log_message(self, *_):
        pass


@contextmanager
def serving(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        getattr(server, "over", threading.Event()).set()
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(outbox, "GATHER", 0.02)
    monkeypatch.setattr(outbox, "FIRST", 0.02)
    monkeypatch.setattr(outbox, "EVERY", 0.1)


@contextmanager
def hook(server, **options):
    made = Webhook({"url": server.url, **options})
    try:
        yield made
    finally:
        made.close()


def test_a_ban_is_posted_once():
    with serving(Server(200)) as server:
        with hook(server, token="t0ken") as made:
            made.after_ban(BAN)
            server.wait()
        ((path, headers, body),) = server.got
        assert path == "/hooks/s3cret?k=s3cret"
        assert (headers["Content-Type"], headers["Authorization"]) == ("application/json", "Bearer t0ken")
        assert json.loads(body)["bans"] == [BAN._asdict()]


def test_a_storm_is_few_requests_and_none_is_forgotten():
    with serving(Server(200)) as server:
        with hook(server) as made:
            for _ in range(5_000):
                made.after_ban(BAN)
            made.on_alarm(ALARM)
        told = [json.loads(body) for _, _, body in server.got]
        assert len(told) <= 5
        assert sum(len(one["bans"]) + one["more"] for one in told) == 5_000
        assert sum(len(one["alarms"]) for one in told) == 1


@pytest.mark.parametrize("word", [500, 503, 429, 408, "cut", "junk"])
def test_what_may_pass_is_tried_again_and_arrives_once(word, capsys):
    with serving(Server(word, word, 200)) as server:
        with hook(server) as made:
            made.after_ban(BAN)
            server.wait(3)
        bodies = [json.loads(body)["bans"] for _, _, body in server.got]
        assert bodies == [[BAN._asdict()]] * 3
    err = capsys.readouterr().err
    assert err.count("tried again") == 2
    assert "s3cret" not in err
    assert "\x1b" not in err


@pytest.mark.parametrize("word", [301, 302, 307, 400, 401, 404, 410])
def test_what_will_not_pass_is_given_up_at_once_and_no_redirect_is_followed(word, capsys):
    with serving(Server(word, 200)) as server, hook(server) as made:
        made.after_ban(BAN)
        server.wait()
        made.close()
        assert [path for path, _, _ in server.got] == ["/hooks/s3cret?k=s3cret"]
    assert capsys.readouterr().err == f"webhook: 127.0.0.1 answered {word}; given up\n"


def test_a_server_that_fails_for_ever_is_given_up_after_six_tries(capsys):
    with serving(Server(500)) as server, hook(server) as made:
        made.after_ban(BAN)
        server.wait(outbox.TRIES)
        made.close()
        assert len(server.got) == outbox.TRIES
    assert capsys.readouterr().err.count("given up") == 1


@pytest.mark.parametrize("word", ["hang", "drip"])
def test_one_that_hangs_or_drips_is_hung_up_on(word, monkeypatch):
    monkeypatch.setattr(webhook, "SECONDS", 0.3)
    monkeypatch.setattr(webhook, "IN_ALL", 0.6)
    with serving(Server(word)) as server, hook(server) as made, pytest.raises(NotSent) as caught:
        made.send(NOTICE)
    assert (caught.value.again, "s3cret" in str(caught.value)) == (True, False)


def test_nobody_there():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        made = Webhook({"url": f"http://127.0.0.1:{bound.getsockname()[1]}/s3cret"})
        with pytest.raises(NotSent, match=r"^127\.0\.0\.1 did not answer: Connection refused$") as caught:
            made.send(NOTICE)
        made.close()
    assert caught.value.again


def test_observed_bans_are_not_told_and_all_bans_only_if_wanted():
    with serving(Server(200)) as server:
        with hook(server, bans="no") as made:
            made.after_ban(BAN)
            made.on_alarm(ALARM)
            server.wait()
        with hook(server) as made:
            made.after_ban(BAN._replace(observed=True))
        ((_, _, body),) = server.got
        assert (json.loads(body)["bans"], len(json.loads(body)["alarms"])) == ([], 1)


def test_a_certificate_that_nobody_vouches_for_is_refused():
    made = Webhook({"url": "https://hooks.example.org/"})
    context = made._connection()._context
    assert (context.check_hostname, context.verify_mode.name) == (True, "CERT_REQUIRED")
    made.close()


# --- Mail ----------------------------------------------------------------------------------------------------------


class Post(socketserver.ThreadingTCPServer):
    """A mail server. `answers` replaces what it says to a command."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, **answers):
        self.answers, self.mails, self.came = answers, [], threading.Semaphore(0)
        super().__init__(("127.0.0.1", 0), Postman)


class Postman(socketserver.StreamRequestHandler):
    def handle(self):
        self.say(self.server.answers.get("greeting", "220 post"))
        to, sender = [], ""
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].lower()
            if word == "rcpt":
                to.append(line)
            elif word == "mail":
                sender = line
            usual = "354 go on" if word == "data" else "221 bye" if word == "quit" else "250 fine"
            answer = self.server.answers.get(word, usual)
            self.say(answer)
            if word == "data" and answer.startswith("354"):
                text = b"".join(iter(self.rfile.readline, b".\r\n")).decode()
                self.server.mails.append((sender, to, text))
                self.say(self.server.answers.get("end", "250 kept"))
                self.server.came.release()
            if word == "quit":
                return

    def say(self, text):
        self.wfile.write(f"{text}\r\n".encode())


@contextmanager
def post(server, **options):
    made = Mail(
        {"to": "root, ops@example.org", "server": "127.0.0.1", "port": str(server.server_address[1]), **options}
    )
    try:
        yield made
    finally:
        made.close()


def test_a_ban_is_mailed_once():
    with serving(Post()) as server:
        with post(server, **{"from": "pbx@example.org"}) as made:
            made.after_ban(BAN)
            assert server.came.acquire(timeout=15)
        ((sender, to, text),) = server.mails
    assert sender.upper().startswith("MAIL FROM:<PBX@EXAMPLE.ORG>")
    assert [line.upper() for line in to] == ["RCPT TO:<ROOT>", "RCPT TO:<OPS@EXAMPLE.ORG>"]
    head, _, body = text.partition("\r\n\r\n")
    assert "Auto-Submitted: auto-generated" in head
    assert "ban 198.51.100.7 (guessing)" in head
    assert body.startswith("ban 198.51.100.7 for 1h, rule guessing, scope all, evidence proven")


@pytest.mark.parametrize(
    ("answers", "again"),
    [
        ({"greeting": "421 not now"}, True), ({"greeting": "554 never"}, False), ({"mail": "451 later"}, True),
        ({"rcpt": "450 later"}, True), ({"rcpt": "550 nobody"}, False), ({"data": "452 full"}, True),
        ({"end": "554 spam"}, False), ({"greeting": "\x1b[2J"}, True),
    ],
)  # fmt: skip
def test_what_the_mail_server_says_decides_whether_it_is_tried_again(answers, again):
    with serving(Post(**answers)) as server, post(server) as made, pytest.raises(NotSent) as caught:
        made.send(NOTICE)
    assert caught.value.again is again
    assert "\x1b" not in str(caught.value)


def test_nothing_in_a_notice_can_write_a_header():
    alarm = ALARM._replace(kind="x\r\nBcc: evil@example.org", text="y")
    made = Mail({"to": "root"})
    with pytest.raises(ValueError):
        made.write(Notice((), (alarm,), 0))
    made.close()
