"""YAML without surprises: text stays text, every mistake has its place, and no bytes do worse than ConfigError."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guard.errors import ConfigError
from guard.settings.mistakes import MAX_MESSAGE, MAX_MISTAKES, Mistakes, Place
from guard.settings.yamlfile import MAX_BYTES, MAX_DEPTH, Items, Mapping, Scalar, Unusable, parse, read


def parsed(text):
    """Parse without a mistake, and give plain lists, dicts and texts."""
    mistakes = Mistakes()
    node = parse(text if isinstance(text, bytes) else text.encode(), "f", mistakes)
    mistakes.check()
    return plain(node)


def plain(node):
    if isinstance(node, Mapping):
        return {key: plain(value) for key, (_, value) in node.pairs.items()}
    if isinstance(node, Items):
        return [plain(item) for item in node.items]
    return node if node is None or node.empty else node.text


def mistakes_of(data):
    with pytest.raises(ConfigError) as caught:
        parsed(data)
    return list(caught.value.mistakes)


@pytest.mark.parametrize(
    "text",
    [
        "1:30",
        "12:30:45",
        "no",
        "No",
        "off",
        "yes",
        "~",
        "null",
        "010",
        "0x1F",
        "0o17",
        "1_000",
        "1e3",
        ".inf",
        "2024-01-01",
        "2001:db8::7",
        "+1",
        "<<",
        "=",
    ],
)
def test_a_scalar_stays_the_text_it_is(text):
    assert parsed(f"a: {text}\nb:\n- {text}\n") == {"a": text, "b": [text]}


def test_keys_are_text_too():
    assert parsed("no: 1\n010: 2\n~: 3\n") == {"no": "1", "010": "2", "~": "3"}


def test_a_value_that_is_not_there_differs_from_the_empty_text():
    assert parsed('a: ""\n') == {"a": ""}
    assert isinstance(parsed("a:\n")["a"], Scalar)
    assert parsed("a:\n")["a"].empty


@pytest.mark.parametrize(
    "data", [b"", b"\n\n", b"# nothing here\n", b"---\n", b"--- # nothing\n...\n", b"\xef\xbb\xbf"]
)
def test_an_empty_file_is_none(data):
    assert parsed(data) is None


def test_a_byte_order_mark_windows_line_ends_and_folding_are_read():
    assert parsed(b"\xef\xbb\xbfa: >\r\n  one\r\n  two\r\nb: {c: [d]}\r\n") == {"a": "one two\n", "b": {"c": ["d"]}}


def test_every_value_and_key_knows_its_place():
    node = parse("ä: {b: [c,\n  d]}\n".encode(), "f", Mistakes())
    assert node.place == Place("f", 1, 1)
    key, table = node.pairs["ä"]
    assert (key, table.place) == (Place("f", 1, 1), Place("f", 1, 4))
    items = table.pairs["b"][1]
    assert [items.place, *(item.place for item in items.items)] == [
        Place("f", 1, 8),
        Place("f", 1, 9),
        Place("f", 2, 3),
    ]


def test_anchors_aliases_and_tags_are_all_reported_and_an_alias_has_no_value():
    said = mistakes_of("a: &x 1\nb: *x\nc: !!str 1\nd: !x {e: 1}\nf: ! 1\ng: &y []\n")
    assert [line.split(" ")[0] for line in said] == ["f:1:4:", "f:2:4:", "f:3:4:", "f:4:4:", "f:5:4:", "f:6:4:"]
    assert set(said) == {
        f"f:{n}:4: anchors, aliases and tags are not used here; quote text beginning with & * !" for n in range(1, 7)
    }
    node = parse(b"a: &x 1\nb: *x\n", "f", Mistakes())
    assert isinstance(node.pairs["b"][1], Unusable)


def test_an_alias_bomb_is_refused_before_it_grows():
    bomb = "a: &a [x, x, x, x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
    )
    assert len(mistakes_of(bomb)) == MAX_MISTAKES


def test_a_repeated_key_names_its_first_line():
    assert mistakes_of("ban: 1h\nx: {y: 1, y: 2}\nban: 2h\n") == [
        "f:2:11: 'y' is given twice, first in line 2",
        "f:3:1: 'ban' is given twice, first in line 1",
    ]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("a: 1\n---\nb: 2\n", "f:2:1: a second document; a file holds one"),
        ("%YAML 1.1\n---\na: 1\n", "f:1:1: directives are not used here"),
        ("%TAG ! tag:x,2024:\n---\na: 1\n", "f:1:1: directives are not used here"),
        ("[a, b]: 1\n", "f:1:1: a key must be a word, not a list or mapping"),
        ("a: [1, 2\n", "f:2:1: not YAML: did not find expected ',' or ']'; is a text short of quotes?"),
        ("a:\n\t- b\n", "f:2:1: not YAML: found character that cannot start any token; is a text short of quotes?"),
        ("a: b: c\n", "f:1:5: not YAML: mapping values are not allowed in this context; is a text short of quotes?"),
        ("b: *x\n", "f:1:4: anchors, aliases and tags are not used here; quote text beginning with & * !"),
        ("ok: 1\nä: \x00\n", r"f:2:4: character '\x00' is not allowed"),
        ("a: \ufffe\n", r"f:1:4: character '\ufffe' is not allowed"),
        ('a: "\\e[31m"\n', r"f:1:4: text with the control character '\x1b'"),
        ('a: "\\L"\n', r"f:1:4: text with the control character '\u2028'"),
        (b"ok: 1\n\xc3\xa4: \xff\n", "f:2:4: byte 0xff is not UTF-8 text"),
        (b"\xef\xbb\xbfab\xff", "f:1:3: byte 0xff is not UTF-8 text"),
        ("a: 1".encode("utf-16"), "f:1:1: byte 0xff is not UTF-8 text"),
    ],
)
def test_what_is_not_read_is_one_mistake_with_its_place(data, said):
    assert mistakes_of(data) == [said]


@pytest.mark.parametrize("text", ["[" * 60_000 + "]" * 60_000, "{a: " * 60_000, "- " * 60_000, "? " * 60_000])
def test_deep_nesting_is_a_mistake_and_not_a_crash(text):
    (said,) = mistakes_of(text)
    assert said.endswith(f"nested more than {MAX_DEPTH} levels deep")


def test_nesting_up_to_the_limit_is_read():
    assert parsed("[" * MAX_DEPTH + "x" + "]" * MAX_DEPTH) == [[[[[[[["x"]]]]]]]]
    deeper = "[" * (MAX_DEPTH + 1) + "x" + "]" * (MAX_DEPTH + 1)
    assert mistakes_of(deeper) == [f"f:1:{MAX_DEPTH + 1}: nested more than {MAX_DEPTH} levels deep"]


def test_reading_stops_at_the_hundredth_mistake():
    assert len(mistakes_of("a: 1\n" * 20_000)) == MAX_MISTAKES
    assert len(mistakes_of("a: 1\n" * 3)) == 2


def test_a_long_message_is_cut():
    (said,) = mistakes_of(f"{'a' * 1000}: 1\n{'a' * 1000}: 2\n")
    assert len(said) < MAX_MESSAGE + 20


def test_a_file_name_cannot_write_on_the_terminal():
    assert str(Place("a\x1b[31m\n\udcff", 2, 3)) == r"a\x1b[31m\n\udcff:2:3"


def test_files_that_cannot_be_read_are_mistakes(tmp_path):
    big = tmp_path / "big"
    big.write_bytes(b"#" * (MAX_BYTES + 1))
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    mistakes = Mistakes()
    for path in (tmp_path / "none", tmp_path, big, pipe, loop):
        assert read(path, mistakes) is None
    with pytest.raises(ConfigError) as caught:
        mistakes.check()
    assert set(caught.value.mistakes) == {
        f"{tmp_path}/none:1:1: no such file",
        f"{tmp_path}:1:1: cannot be read: Is a directory",
        f"{big}:1:1: cannot be read: larger than 262144 bytes",
        f"{pipe}:1:1: cannot be read: not a regular file",
        f"{loop}:1:1: cannot be read: Too many levels of symbolic links",
    }


def test_a_file_of_just_the_limit_and_the_null_device_are_read(tmp_path):
    full = tmp_path / "full"
    full.write_bytes(b"#" * MAX_BYTES)
    mistakes = Mistakes()
    assert read(full, mistakes) is None
    (tmp_path / "off").symlink_to(os.devnull)
    assert read(tmp_path / "off", mistakes) is None
    assert len(mistakes) == 0


yaml_like = st.lists(
    st.sampled_from(
        [
            "a",
            "b: ",
            "- ",
            "? ",
            ": ",
            "\n",
            "  ",
            "[",
            "]",
            "{",
            "}",
            ", ",
            '"',
            "'",
            "|",
            ">",
            "#",
            "&x ",
            "*x",
            "!t ",
            "%",
            "---\n",
            "...\n",
            "\t",
            "\\",
            "\u2028",
            "\x85",
            "\ufeff",
            "ä",
            "\x00",
            "\U0001f600",
            "<<: ",
        ]
    ),
    max_size=40,
).map("".join)


@given(st.binary(max_size=80) | yaml_like.map(str.encode))
def test_any_bytes_give_a_tree_or_a_mistake(data):
    try:
        _, mistakes = parsed(data), []
    except ConfigError as error:
        mistakes = error.mistakes
    assert all(line.startswith("f:") for line in mistakes)
