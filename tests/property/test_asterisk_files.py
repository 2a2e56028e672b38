"""Whatever stands in Asterisk's files: reading ends, adding is exact, and taking out gives back what was there."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as some

from guard.asterisk.conffile import lines_of, read_conf
from guard.asterisk.manager import read_http, read_manager
from guard.asterisk.telephony import has_anonymous, identify_order, trunks
from guard.core.address import parse_host
from guard.setup.block import cut_block, has_block, put_block

MAIN = Path("/etc/asterisk/manager.conf")
PIECES = some.sampled_from(
    ["[general]\n", "[a](!)\n", "[b](a)\n", "[general](+)\n", "enabled = yes\n", "bindaddr=::\n", "x => y\n", "permit=", "deny=0.0.0.0/0\n",
     "type=identify\n", "match=192.0.2.1\n", ";", ";--", "--;", ";---", "\\;", "#include x\n", "#include *.conf\n", "#exec x\n", "=", "\n", "\0", "[", "]", "(", ")"]
)  # fmt: skip
TEXT = some.lists(PIECES | some.text(max_size=20), max_size=40).map("".join)
OWN = ["[general](+)", "enabled = yes", "[astguard]", "secret = word"]


def read(text, more=""):
    files = {str(MAIN): text, "x": more}
    return read_conf(MAIN, lambda name: [(MAIN.with_name(Path(name).name), files[name])] if name in files else [])


@given(TEXT, TEXT)
@example("[a]\n#include x\n", "#include x\n")
def test_any_text_is_read_to_its_end(text, more):
    conf = read(text, more)
    manager = read_manager(conf)
    for user in manager.users:
        user.strangers()
    read_http(conf)
    trunks(conf, conf, conf, conf)
    has_anonymous(conf)
    identify_order(conf)


@given(TEXT)
def test_no_comment_is_ever_a_value(text):
    """What Asterisk does not read, nobody here does: behind an open `;--` nothing is in force."""
    lines, _ = lines_of(";--\n" + text.replace("--;", ""))
    assert not any(lines)


@given(some.binary(max_size=300) | TEXT.map(str.encode))
def test_a_block_is_put_and_taken_out_to_the_byte(data):
    if has_block(data, ";") or b"astguard setup" in data:
        return
    after = put_block(data, OWN, ";")
    rest = cut_block(after, ";")
    assert rest in (data, data + b"\n")
    assert put_block(after, OWN, ";") == after


@given(TEXT)
def test_what_stands_at_the_end_is_in_force(text):
    """Setup's whole idea: where a text is sound, its block decides, whatever stands above."""
    text = "[general]\nenabled = no\n" + text + "\n"
    conf = read(text)
    if conf.broken or conf.open_comment or any(section.name == "astguard" for section in conf.sections):
        return
    after = read(put_block(text.encode("utf-8", "surrogatepass"), OWN, ";").decode("utf-8", "surrogatepass"))
    manager = read_manager(after)
    assert manager.enabled
    assert manager.user("astguard").secret == "word"


RULES = some.lists(
    some.tuples(
        some.sampled_from(["permit", "deny"]),
        some.sampled_from(["0.0.0.0/0", "127.0.0.1", "192.0.2.0/24", "192.0.2.128/25", "::/0", "::1", "2001:db8::/32", "198.51.100.7/32"]),
    ),
    max_size=8,
)  # fmt: skip
HOSTS = [
    "127.0.0.1",
    "192.0.2.1",
    "192.0.2.200",
    "8.8.8.8",
    "198.51.100.7",
    "198.51.100.8",
    "::1",
    "2001:db8::9",
    "2001:db9::1",
]


@given(RULES)
def test_strangers_are_found_wherever_there_is_a_hole(rules):
    """Asked host by host, nobody elsewhere gets in whom `strangers` did not warn of."""
    lines = "".join(f"{word}={network}\n" for word, network in rules)
    user = read_manager(read(f"[general]\nenabled=yes\n[u]\n{lines}")).user("u")
    families = {host[0] for host in user.strangers()}
    for host in HOSTS:
        if host not in ("127.0.0.1", "::1") and user.admits(host):
            assert parse_host(host)[0] in families
