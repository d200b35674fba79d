import os
import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError as RuamelError

from ganpress.config import yaml_text
from ganpress.config.base import read_yaml
from ganpress.config.yaml_text import OF_DVC, dump_yaml, parse_yaml, read_text
from ganpress.errors import ConfigError

BOMB = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))
REFUSED = {
    "aliases": (BOMB, r"line 6, column \d+: more than 100,000 values \(with aliases written out\)"),
    "itself": ("a: &x [*x]", "alias \\*x is inside its own anchor"),
    "no anchor": ("a: *x", "alias \\*x refers to no anchor"),
    "anchor twice": ("a: &x 1\nb: &x 2", "anchor &x is defined here for the second time"),
    "brackets": ("[" * 5000, "deeper than 32"),
    "braces": ("{a: " * 5000, "deeper than 32"),
    "dashes": ("- " * 5000, "deeper than 32"),
    "twice": (
        "a: 1\nb:\n  c: 1\n  c: 2",
        r"line 4, column 3: key 'c' occurs here for the second time \(first in line 3",
    ),
    "date": ("a: 2020-13-45", "'2020-13-45' has different values"),
    "real date": ("a: 2020-12-24", "put text in quotes"),
    "digits": ("a: " + "9" * 5000, "this number has 5,000 characters; write at most 40"),
    "float tag": ("a: !!float abc", "tag 'tag:yaml.org,2002:float' is not allowed"),
    "python tag": ("a: !!python/object/apply:os.system [ls]", "is not allowed; write the value without a tag"),
    "own tag": ("!x {a: 1}", "tag '!x' is not allowed"),
    "text tag": ("a: !!str 1", "is not allowed"),
    "octal": ("a: 010", "'010' has different values"),
    "underscores": ("a: 1_000", "has different values"),
    "binary": ("a: 0b1", "has different values"),
    "hexadecimal": ("a: 0x1F", "has different values"),
    "sixty": ("a: 1:30", "has different values"),
    "yes": ("a: yes", "booleans as true or false"),
    "off": ("a: Off", "booleans as true or false"),
    "infinity": ("a: .inf", "not a finite number"),
    "not a number": ("a: .NaN", "not a finite number"),
    "overflow": ("a: 1e999", "not a finite number"),
    "number as key": ("1: a", "a key must be text, found 1"),
    "boolean as key": ("true: a", "a key must be text, found true"),
    "null as key": ("~: a", "a key must be text, found null"),
    "list as key": ("? [a]\n: 1", "a key must be text, not a list"),
    "NUL": ("a: \x00", "is not valid YAML"),
    "escaped NUL": ('a: "\\0"', r"control character '\\x00'"),
    "escape": ('a: "\\e[2J"', r"control character '\\x1b'"),
    "newline": ("a: |\n  b\n  c", r"control character '\\n'"),
    "lone surrogate": ("a: \ud800", "is not UTF-8"),
    "byte order mark": ("\ufeffa: 1", "byte order mark"),
    "documents": ("---\na: 1\n---\nb: 2", "line 3, column 1: a second document"),
    "directive": ("%YAML 1.1\n---\na: 1", "directives"),
    "open": ("a: [1,\nb: 2", "f.yaml is not valid YAML: line 3, column 1"),
    "merge of text": ("<<: a", "<< needs an alias of a mapping"),
    "merge as value": ("a: <<", "<< is the key that merges mappings"),
    "quoted merge": ('"<<": {a: 1}', "<< is the key that merges mappings"),
}


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_in_one_line_at_once(text, message):
    started = time.monotonic()
    with pytest.raises(ConfigError, match=message) as caught:
        parse_yaml(text, "f.yaml")
    assert time.monotonic() - started < 2
    assert str(caught.value).startswith("f.yaml")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize(("text", "message"), REFUSED.values(), ids=REFUSED)
def test_refused_without_libyaml_too(text, message, monkeypatch):
    monkeypatch.setattr(yaml_text, "Loader", yaml.SafeLoader)
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f.yaml")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        ("-0.5", -0.5),
        (".5", 0.5),
        ("7", 7),
        ("+7", 7),
        ("", None),
        ("~", None),
        ("True", True),
        ("'yes'", "yes"),
        ('"010"', "010"),
        ("maps", "maps"),
        ("mobile_spade:ngf=4 upsampling=normal", "mobile_spade:ngf=4 upsampling=normal"),
        ("[1, [a, null]]", [1, ["a", None]]),
    ],
)
def test_values_are_those_of_dvc(text, value):
    assert parse_yaml(f"a: {text}", "f.yaml") == {"a": value} == YAML(typ="safe").load(f"a: {text}")


def test_merged_mappings_and_aliases_are_read_as_before():
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: {<<: [*a, {z: 4}]}\nd: *a"
    assert parse_yaml(text, "f.yaml") == yaml.safe_load(text) == YAML(typ="safe").load(text)


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    return all(map(same, one, other)) and len(one) == len(other) if isinstance(one, list) else one == other


WORDS = [*"0123456789_+-.:eExobnfatTYys~=<>|'\" #,[]{}&*!%\n", "true", "yes", "inf", "nan", "0x", "1e", "2020-01-01"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from([*WORDS, "key: ", "\n- ", "\n  ", "&a ", "*a", "12:30:00"]), max_size=10).map("".join))
def test_no_text_is_another_value_to_dvc(text):
    for document in (text, f"a: {text}"):
        try:
            ours = parse_yaml(document, "f.yaml")
        except ConfigError:
            continue
        try:
            theirs = YAML(typ="safe").load(document)
        except RuamelError:  # DVC refuses it, in words of its own
            continue
        assert same(ours, theirs), document


TEXTS = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"])) | st.sampled_from(WORDS).filter(str.isprintable)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**30), 10**30)


@settings(max_examples=200, deadline=None)
@given(st.one_of(TEXTS, NUMBERS, st.booleans(), st.none()))
def test_what_is_written_is_read_back_by_both(value):
    content = {"key": [value, {"inner": value}]}
    assert same(parse_yaml(dump_yaml(content), "f.yaml"), content)
    assert same(YAML(typ="safe").load(dump_yaml(content)), content)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "bytes.yaml"
    path.write_bytes(content)
    try:
        assert isinstance(read_yaml(path), dict)
    except ConfigError as error:
        refusal = str(error)
        assert "\n" not in refusal


def test_files_that_cannot_be_read(tmp_path):
    latin, folder, pipe, large, locked = (tmp_path / name for name in ("latin", "folder", "pipe", "large", "locked"))
    latin.write_bytes("a: 1\nb: caf\xe9".encode("latin-1"))
    folder.mkdir()
    os.mkfifo(pipe)
    large.write_bytes(b"#" * (2**20 + 1))
    locked.write_text("a: 1")
    locked.chmod(0)
    for path, message in {
        latin: "line 2: byte 0xe9 is not UTF-8",
        folder: "is a folder, not a file",
        pipe: "is a device or pipe, not a file",
        large: "larger than 1,048,576 bytes",
        tmp_path / ("x" * 300): "cannot be read",
        tmp_path / "a\0b": "cannot be read",
        latin / "below": "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=message):
            read_yaml(path)
    if os.geteuid() != 0:  # nothing is locked for root
        with pytest.raises(ConfigError, match="cannot be read"):
            read_yaml(locked)


@pytest.mark.parametrize("content", ["", "# nothing", "null", "- a", "text", "3"])
def test_a_file_without_sections(tmp_path, content):
    (tmp_path / "f.yaml").write_text(content)
    with pytest.raises(ConfigError, match="must contain a mapping of sections, found"):
        read_yaml(tmp_path / "f.yaml")


def test_files_of_dvc_may_hold_what_dvc_writes(tmp_path):
    path = tmp_path / "dvc.yaml"
    path.write_text("cmd: |\n  one\n  two\nmd5: 1_0\nflag: yes\n")
    assert parse_yaml(read_text(path), "dvc.yaml", OF_DVC) == {"cmd": "one\ntwo\n", "md5": "1_0", "flag": "yes"}
