"""The section `api`: loopback alone, and a token that is kept secret and hard to guess."""

from __future__ import annotations

from pathlib import Path

import pytest

from guard.errors import ConfigError
from guard.settings.api import Api
from guard.settings.config import parse_config

TOKEN = "0123456789abcdef" * 2


def config(text, folder="/etc/astguard"):
    return parse_config(text.encode(), Path(folder) / "astguard.yaml")


def mistakes_of(text):
    with pytest.raises(ConfigError) as caught:
        config(text)
    return [mistake.partition("astguard.yaml:")[2] for mistake in caught.value.mistakes]


def test_without_the_section_there_is_no_tcp():
    assert config("").api is None


def test_every_key_has_a_default():
    assert config("api:\n").api == Api() == Api(address="127.0.0.1", port=9876)
    read = config("api: {address: '::1', port: 80, token_file: x}").api
    assert (read.address, read.port, read.token_file) == ("::1", 80, Path("/etc/astguard/x"))


@pytest.mark.parametrize("address", ["0.0.0.0", "'::'", "192.0.2.1", "localhost", "pbx.example", "2001:db8::1"])
def test_only_loopback_is_listened_on(address):
    (mistake,) = mistakes_of(f"api: {{address: {address}}}")
    assert f"{address.strip(chr(39))!r} is not an address of loopback, such as 127.0.0.1 or ::1" in mistake
    assert "ssh -L" in mistake


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "api.token"

    def write(text, mode=0o640):
        path.write_text(text)
        path.chmod(mode)
        return Api(token_file=path)

    return write


def test_the_token_is_the_only_line_of_its_file(token):
    assert token(TOKEN + "\n").read_token() == TOKEN


@pytest.mark.parametrize(
    ("text", "mode", "says"),
    [
        (TOKEN[1:], 0o640, "a token has at least 32 letters, digits and ._~+/=-; make one: openssl rand -hex 32"),
        ("", 0o640, "a secret has 1 to 256 characters"),
        (TOKEN + " " + TOKEN, 0o640, "a token has at least 32"),
        (TOKEN + "ü", 0o640, "a token has at least 32"),
        (TOKEN + "\n" + TOKEN, 0o640, "one line"),
        (TOKEN, 0o644, "every user of this host has access to the secret; run 'chmod o=' on the file"),
    ],
)
def test_a_token_that_is_none_is_refused_and_not_quoted(token, text, mode, says):
    api = token(text, mode)
    with pytest.raises(ConfigError) as caught:
        api.read_token()
    assert says in str(caught.value)
    assert not text or text.strip() not in str(caught.value)


def test_a_missing_file_says_how_to_make_one(tmp_path):
    with pytest.raises(
        ConfigError, match=r"no such file; put a token \(openssl rand -hex 32\) there, alone on one line"
    ):
        Api(token_file=tmp_path / "none").read_token()
