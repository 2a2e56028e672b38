"""The control API as docs/openapi.yaml tells it to programs, held against a running guard: every call, every answer."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import aiohttp
import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError
from openapi_spec_validator import validate

from guard.wire.control import Call
from tests.daemon.following import following
from tests.daemon.linking import SECRET, run
from tests.daemon.test_service import SVCRACK, TREE, configure, guarding
from tests.scripted_asterisk import ScriptedAsterisk

PAGE = yaml.safe_load((TREE / "docs/openapi.yaml").read_text())
ATTACKER, OTHER = "198.51.100.11", "203.0.113.0%2F24"


def strict(schema):
    """Return a schema that also refuses what it does not name: astguard may add keys, but tells of them."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(part) for key, part in schema.items()}
    if "properties" in made:
        made.setdefault("unevaluatedProperties", False)
    return made


def check(call, status, value):
    """Hold an answer against the schema of its call and status."""
    method, path = call.split()
    responses = PAGE["paths"][path][method.lower()]["responses"]
    response = responses.get(str(status)) or responses["default"]
    assert status == 200 or str(status) in responses or "default" in responses
    if "$ref" in response:
        response = PAGE["components"]["responses"][response["$ref"].rpartition("/")[2]]
    schema = response["content"]["application/json"]["schema"]
    if "allOf" in schema:  # its parts know but some of the keys each, only all of them all
        root = {"components": PAGE["components"], "unevaluatedProperties": False, **schema}
    else:
        root = {"components": {"schemas": strict(PAGE["components"]["schemas"])}, **strict(schema)}
    Draft202012Validator(root, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(value)


def test_a_ban_by_hand_is_as_it_says():
    check("POST /v1/bans", 200, {**BAN, "stored": True})
    check("GET /v1/bans", 200, [BAN])


def test_it_is_openapi():
    validate(PAGE)


def test_it_has_every_call_and_no_other():
    told = {
        f"{method.upper()} {path}" for path, item in PAGE["paths"].items() for method in item if method != "parameters"
    }
    assert told - {"GET /metrics"} == {call.value.replace("*", "{source}") for call in Call}


BAN = {
    "source": "198.51.100.7/32", "rule": "x", "scope": "all", "strike": 1, "since": "2026-05-01T14:02:11.000Z",
    "until": "2026-05-01T15:02:11.000Z", "left_seconds": 1, "offences": 1, "events": 1, "evidence": "proven",
    "reason": "x", "origin": "rule",
}  # fmt: skip
CALLS = [
    ("GET /v1/status", "", None, 200),
    ("GET /v1/rules", "", None, 200),
    ("GET /v1/top", "", None, 200),
    ("GET /v1/bans", "", None, 200),
    ("GET /v1/bans/{source}", ATTACKER, None, 200),
    ("GET /v1/explain/{source}", ATTACKER, None, 200),
    ("GET /v1/explain/{source}", "192.0.2.1", None, 200),
    ("GET /v1/explain/{source}", "198.51.100.0%2F24", None, 200),
    ("GET /v1/explain/{source}", "nobody", None, 400),
    ("GET /v1/history", "", None, 200),
    ("GET /v1/bans/{source}", "192.0.2.1", None, 404),
    ("GET /v1/bans/{source}", "nobody", None, 400),
    ("POST /v1/bans", "", {"source": "203.0.113.0/24", "for": "1h30m", "reason": "a test"}, 200),
    ("POST /v1/bans", "", {"source": "203.0.113.7"}, 409),
    ("POST /v1/bans", "", {"source": "192.0.2.1"}, 409),
    ("POST /v1/bans", "", {"for": "1h"}, 400),
    ("POST /v1/bans", "", {"source": "198.51.100.1", "for": "ten years"}, 400),
    ("DELETE /v1/bans/{source}", OTHER, None, 200),
    ("DELETE /v1/bans/{source}", OTHER, None, 404),
    ("DELETE /v1/bans", "", None, 200),
    ("POST /v1/allow", "", {"source": ATTACKER, "for": "2h"}, 200),
    ("POST /v1/allow", "", {"source": "203.0.113.9"}, 200),
    ("POST /v1/allow", "", {"source": "0.0.0.0/0"}, 409),
    ("GET /v1/allow", "", None, 200),
    ("GET /v1/allow/{source}", ATTACKER, None, 200),
    ("GET /v1/allow/{source}", "198.51.100.12", None, 200),
    ("DELETE /v1/allow/{source}", ATTACKER, None, 200),
    ("DELETE /v1/allow/{source}", "192.0.2.0%2F24", None, 409),
    ("POST /v1/reload", "", None, 200),
    ("POST /v1/pause", "", {"for": "1h"}, 200),
    ("GET /v1/status", "", None, 200),
    ("POST /v1/bans", "", {"source": "203.0.113.7"}, 409),
    ("POST /v1/pause", "", None, 200),
    ("DELETE /v1/pause", "", None, 200),
    ("DELETE /v1/pause", "", None, 404),
]


async def ask(session, call, source, body):
    method, path = call.split()
    data = json.dumps(body) if body is not None else None
    url = f"http://localhost{path.replace('{source}', source)}"
    async with session.request(method, aiohttp.client.URL(url, encoded=True), data=data) as answer:
        assert answer.content_type == "application/json"
        return answer.status, await answer.json()


def test_every_answer_of_a_running_guard_is_as_it_says(tmp_path):
    async def told():
        async with (
            ScriptedAsterisk(secret=SECRET) as pbx,
            guarding(configure(tmp_path, pbx.port, more="allow: [192.0.2.0/24]\n")) as guard,
            aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(tmp_path / "control.sock"))) as session,
        ):
            await pbx.play(SVCRACK)
            await guard.says("WARNING ban")
            for call, source, body, wanted in CALLS:
                status, value = await ask(session, call, source, body)
                assert status == wanted, (call, source, body, value)
                check(call, status, value)
            (tmp_path / "astguard.yaml").write_text("mode: enforc\n")
            status, value = await ask(session, "POST /v1/reload", "", None)
            assert (status, value["exit_code"]) == (422, 78)
            check("POST /v1/reload", status, value)

    run(told())
    followed = {Call.EVENTS.value}  # without an end, and told of below
    assert {call for call, *_ in CALLS} | followed == {call.value.replace("*", "{source}") for call in Call}


def test_what_the_stream_of_a_running_guard_tells_is_as_it_says(tmp_path):
    schema = {"components": {"schemas": strict_happenings()}, "$ref": "#/components/schemas/Happening"}
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)

    async def told():
        async with (
            ScriptedAsterisk(secret=SECRET) as pbx,
            guarding(configure(tmp_path, pbx.port)) as guard,
            following(tmp_path / "control.sock") as follower,
        ):
            await pbx.play(SVCRACK)
            for number in range(1, 11):
                remote = f"IPV4/UDP/203.0.113.{number}/5060"
                tail = "Challenge: 1795354577/ddc01744\r\nResponse: a13697eb64d5\r\nExpectedResponse: "
                await pbx.send(pbx.event("ChallengeResponseFailed", account="7\u202e7", remote=remote, tail=tail))
            heard = [await follower.next()]
            while heard[-1]["kind"] != "alarm":
                heard.append(await follower.next())
            assert (await guard.cli("bans", "remove", ATTACKER))[0] == 0
            while heard[-1]["kind"] != "unban":
                heard.append(await follower.next())
            assert await guard.stop() == 0
            heard.append(await follower.next())
            for happening in heard:
                validator.validate(happening)
            kinds = [happening["kind"] for happening in heard]
            assert {"outcome", "ban"} <= set(kinds)
            assert kinds[-2:] == ["unban", "end"]
            outcomes = [happening for happening in heard if happening["kind"] == "outcome"]
            assert len(outcomes) == 22 + 10
            assert outcomes[-1]["account"] == r"7\u202e7"
            ban = next(happening for happening in heard if happening["kind"] == "ban")
            assert (ban["source"], ban["rule"], ban["stored"]) == ("198.51.100.11/32", "pjsip-guessing", True)

    run(told())


@pytest.mark.parametrize("happening", [{"kind": "ban"}, {"kind": "end", "text": "x", "more": 1}, {"kind": "else"}])
def test_a_happening_that_is_otherwise_would_be_found(happening):
    schema = {"components": {"schemas": strict_happenings()}, "$ref": "#/components/schemas/Happening"}
    with pytest.raises(ValidationError):
        Draft202012Validator(schema).validate(happening)


def strict_happenings():
    """Return the schemas so that a happening with a key they do not name is found, a ban's two parts taken as one."""
    schemas = dict(PAGE["components"]["schemas"])
    happenings = {name: strict(schemas[name]) for name in ("JudgedEvent", "AlarmNews", "LastWords")}
    return schemas | happenings | {"BanNews": {**schemas["BanNews"], "unevaluatedProperties": False}}


@pytest.mark.parametrize(
    ("call", "value"),
    [
        ("GET /v1/bans", [{"source": "198.51.100.7/32"}]),
        ("DELETE /v1/pause", {"bans": 1, "stored": True, "secret": 1}),
        ("GET /v1/rules", [{"name": 7}]),
        ("DELETE /v1/bans/{source}", {**BAN, "stored": True, "secret": 1}),
    ],
)
def test_an_answer_that_is_otherwise_would_be_found(call, value):
    with pytest.raises(ValidationError, match=r"required|[Uu]nevaluated|not of type"):
        check(call, 200, value)


# --- Who changes what ----------------------------------------------------------------------------------------------

ASK = """
import os, socket, sys
if os.getuid() == 0:  # only now: nobody may look into root's own folders, where this Python may stand
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
client.sendall(f"{sys.argv[2]} HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\nContent-Length: 0\\r\\n\\r\\n".encode())
answer = b""
while piece := client.recv(4096):
    answer += piece
print(os.getpid(), os.getuid())
print(answer.decode())
"""


@pytest.fixture
def folder():
    """Return a folder that everybody may look into."""
    place = Path(tempfile.mkdtemp(prefix="astguard-"))
    place.chmod(0o755)
    yield place
    shutil.rmtree(place)


def somebody(path, request):
    """Ask as nobody in particular; as ourselves if we are not root. Return process, user and answer."""
    path.chmod(0o666)
    command = [sys.executable, "-S", "-c", ASK, str(path), request]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    head, _, answer = done.stdout.partition("\n")
    return (*map(int, head.split()), answer)


@pytest.mark.parametrize("changes", ["all", "root"])
def test_the_log_says_who_changed_what_and_only_root_may_if_so_configured(folder, changes):
    async def told():
        async with (
            ScriptedAsterisk(secret=SECRET) as pbx,
            guarding(configure(folder, pbx.port, more=f"control_changes: {changes}\n")) as guard,
        ):
            pid, uid, answer = somebody(folder / "control.sock", "DELETE /v1/bans/203.0.113.7")
            if changes == "root":
                assert "HTTP/1.1 403 " in answer
                assert "only root may change anything here ('control_changes: root' in astguard.yaml)" in answer
                line = await guard.says("WARNING refused, only root may: ")
            else:
                assert "HTTP/1.1 404 " in answer
                line = await guard.says("INFO command: ")
            assert line.endswith(f"DELETE /v1/bans/203.0.113.7/32 by uid={uid} pid={pid}")
            assert "HTTP/1.1 200 " in somebody(folder / "control.sock", "GET /v1/status")[2]
            assert sum("uid=" in line for line in guard.log) == 1

    run(told())
