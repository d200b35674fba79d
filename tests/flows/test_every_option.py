"""Hostile values of every option and argument of every command: one line and exit code 2, or the command's own work."""

import subprocess
import sys

import pytest
import typer
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from flows.__main__ import app, main

LIMIT_S = 10
HUGE = "9" * 5000
NUMBERS = ["nan", "inf", "-inf", "1e300", "-1", "", "x", HUGE, "0x10", "1.5e", "true"]
TEXTS = ["", " ", "x" * 100_000, "a\nb", "\x1b[2J", "../../x", "$(touch x)", "é" * 5000, "\udcff", "/", "."]
STAYS = {"serve", "ui", "demo", "doctor", "data show", "status", "targets"}
"""Commands that would start servers or look at everything: only what is refused first is tried on them."""
FIXED = {
    "serve": ["--interval", "60"],
    "import": ["absent:factory", "--example-input", "1x3x8x8"],
    "compress": ["absent:factory", "--example-input", "1x3x8x8", "--out", "out"],
    "cost": ["wdcgan"],
}


def commands():
    """Yield (name, click command) of every command of the command line."""
    group = typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from ((f"{name} {below}", one) for below, one in command.commands.items())
        else:
            yield name, command


OPTIONS = [
    (name, max(option.opts, key=len) if option.opts[0].startswith("-") else None, option.type_descriptor.annotation)
    for name, command in commands()
    for option in command.params
    if option.name != "help" and not getattr(option, "is_flag", False)
]


def call(monkeypatch, capsys, arguments):
    """Run the command line in this process: (exit code, stderr)."""
    monkeypatch.setattr(sys, "argv", ["ganpress", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code, capsys.readouterr().err


def check_refusal(code, err):
    assert code == 2, err
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("ganpress: ")
    assert len(lines[0]) < 2000


def arguments_for(command, option, value):
    given_before = FIXED.get(command, [])
    if option is None:
        return [*command.split(), "--", value] if value.startswith("-") else [*command.split(), value]
    if option in given_before:
        given_before = []
    return [*command.split(), *given_before, f"{option}={value}" if option.startswith("--") else f"{option}{value}"]


def test_every_command_is_walked_over():
    assert {name for name, _, _ in OPTIONS} >= {"run", "status", "compare", "ui", "cost", "serve", "demo", "import"}
    assert len(OPTIONS) > 30


@pytest.mark.parametrize(("command", "option"), [one[:2] for one in OPTIONS if one[2] in (int, float)], ids=str)
def test_numbers(command, option, monkeypatch, capsys, toy):
    for value in NUMBERS:
        check_refusal(*call(monkeypatch, capsys, arguments_for(command, option, value)))


RECIPES = ("", "x" * 100_000, "no", "/", ".", "/dev/zero", "x" * 300)
REFUSED = [
    *(["run", f"--stage-timeout-s={value}"] for value in ("nan", "0", "-1", "inf", "1e300")),
    *(["run", "--dry-run", f"--stage-timeout-s={value}"] for value in ("nan", "0", "-1", "inf", "1e300")),
    *(["run", f"--jobs={value}"] for value in ("0", "-1", "65", "1.5", HUGE)),
    *(["run", "--dry-run", f"--jobs={value}"] for value in ("0", "-1", "65", "1.5", HUGE)),
    *(["serve", f"--interval={value}"] for value in ("nan", "inf", "1e300", "0", "-1")),
    *(["serve", f"--cron={value}"] for value in ("* * * * * *", "0 0 31 2 *", "@reboot", "@daily", "", "60 * * * *",
                                                 "* " * 5000, "a b c d e", "0 0 30 2 *", "*/0 * * * *")),
    *(["serve", "--interval=60", f"--name={value}"] for value in ("", "a/b", "x" * 101, "<b>", "%", "a\nb")),
    *(["serve", "--interval=60", f"--port={value}"] for value in ("-1", "65536", HUGE)),
    *(["run", f"--retries={value}"] for value in ("-1", "101", "1.5", HUGE)),
    *(["run", "--dry-run", f"--cluster={value}"] for value in ("", "x", "a:0", "a:65536", "a\nb:1", "ray://a:1", HUGE)),
    ["run", "--cluster=a:1", "--gpus=1"], ["run", "--cluster=local", "--device=cpu"], ["remote", "init"],
    *(["remote", "init", f"--mlflow={value}"] for value in ("", "x", "http://a:b@c", "file:///x", "x" * 5000)),
    *(["remote", "init", f"--checkpoints={value}"] for value in ("", "x", "/proc/x", "a\nb")),
    *(["run", f"--on-{ending}={value}"] for ending in ("failure", "success") for value in ("", "a\nb", "http://")),
    ["serve", "--interval=60", "--on-failure=https:///path"], ["serve", "--interval=60", "--retries=x"],
    *(["demo", f"--port={value}"] for value in ("-1", "65536", HUGE)),
    *(["ui", f"--{one}={value}"] for one in ("port", "prefect-port") for value in ("-1", "65536", HUGE)),
    *(["compare", f"--budget={value}"] for value in ("nan", HUGE, "-1", "1e9", "", "1 parsec", "inf", "١٢kB",
                                                     "999999999999999999MB")),
    ["compare", "--sort", "x" * 100_000], ["compare", "--metric", "x" * 100_000], ["compare", "--sort", ""],
    *(["cost", "wdcgan", f"--size={value}"] for value in ("999999999x9", "0x0", "-1x5", "x", "64", "64x64x64",
                                                          f"{HUGE}x{HUGE}", "٦٤x٦٤", "")),
    *(["cost", "wdcgan", f"--channels={value}"] for value in ("-1", "0", "4097", HUGE)),
    *(["cost", value] for value in ("", "x" * 100_000, "wdcgan:" + "_".join(["16"] * 50_000), "wdcgan:" + HUGE,
                                    "wdcgan:16384", "resnet_9blocks:ngf=" + HUGE, "spade:semantic=" + HUGE, "no:16",
                                    "wdcgan:١٦", "wdcgan:16\n", "nothing")),
    ["cost"], ["cost", "wdcgan", "--training"], ["cost", "wdcgan", "--recipe=mnist"],
    ["cost", "wdcgan", "--set=seed=1"],
    *(["cost", "--training", f"--tflops={value}"] for value in ("0", "-1", "nan", "inf", "x", HUGE)),
    *(["cost", "--training", f"--label-classes={value}"] for value in ("0", "256", "1.5", HUGE)),
    *(["cost", "--training", f"--recipe={value}"] for value in RECIPES),
    *(["import", "a:b", f"--input-range={value}"] for value in ("nan,nan", "1,0", "0", "inf,inf", "-inf,inf",
                                                               "1e300,1e301",
                                                               "", "0,1,2", "a,b")),
    *(["import", "a:b", f"--example-input={value}"] for value in ("", "1", "1x999999999x999999999", "0x0", "-1x3", HUGE,
                                                                 "1x" * 5000 + "1", "1x3x99999x99999")),
    *(["import", "a:b", f"--input={value}"] for value in ("", "x", "x=", "x=3x8", "x=1:int8", "x=1:int64:0", HUGE)),
    *(["import", "a:b", f"--{option}=sideways"] for option in ("layout", "noise")),
    *(["compress", "a:b", "--out=out", f"--method={value}"] for value in ("", "w9", "w8a1", "ptq ", HUGE)),
    ["compress", "a:b", "--out=out", "--target=toaster"], ["compress", "g.pt2", "--out=out"],
    ["compress", "a:b", "--out=/proc"], ["compress", "a:b", "--out=."],
    *(["run", "--dry-run", f"--set={value}"] for value in (
        "teacher.images=" + "9" * 100_000, "teacher.images", "=1", ".=1", "a..b=1", "seed.x=1", "x" * 100_000,
        ".".join(["a"] * 2000) + "=1", "teacher.images=[", "teacher.images=!!float abc", "teacher.images=.inf",
        "teacher.images=1_000", "seed=true", "seed=1.0", "report.title=yes", "prepare.size=64", "teacher=*a",
        "candidate.items={d2; touch x: {depth: 2}}", "candidate.items={size: {depth: 2}}", "teacher.images=\udcff",
        "data.source=" + "edges:" * 600 + "digits", "report.title=\"a\\nb\"")),
    *(["run", "--dry-run", f"--recipe={value}"] for value in RECIPES),
    *(["status", f"--recipe={value}"] for value in RECIPES),
    ["run", "--dry-run", "--stage", "x" * 100_000], ["run", "--dry-run", "--from", ""],
    ["run", "--dry-run", "-s", "no"],
    ["run", "--dry-run", "--stage", "first", "--from", "first"], ["run", "--dry-run", "--stage", "many@../x"],
    ["data", "add", ""], ["data", "add", "edges:" * 5000 + "digits"], ["data", "add", "x" * 100_000],
]  # fmt: skip


@pytest.mark.parametrize("arguments", REFUSED, ids=lambda one: ascii(" ".join(one))[:60])
def test_refused_in_one_line(arguments, monkeypatch, capsys, toy):
    check_refusal(*call(monkeypatch, capsys, arguments))
    assert toy.executed() == []


@settings(max_examples=60, suppress_health_check=list(HealthCheck))
@given(
    place=st.sampled_from([one for one in OPTIONS if one[0] not in STAYS | {"run", "import"}]),
    value=st.text(st.characters(exclude_characters="\0"), max_size=30) | st.sampled_from(TEXTS + NUMBERS),
)
@example(place=("cost", None, str), value="mobile_spade:ngf=1_1")
def test_any_text(place, value, monkeypatch, capsys, toy):
    code, err = call(monkeypatch, capsys, arguments_for(place[0], place[1], value))
    assert code in (0, 2)
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [one for one in REFUSED if max(map(len, one)) < 100_000], ids=lambda one: ascii(" ".join(one))[:60]
)
def test_refused_by_the_real_command(arguments, toy):
    """The same as processes of their own: no traceback, one line, within the limit."""
    command = [sys.executable, "-m", "flows", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, env=toy.environment(), timeout=LIMIT_S, check=False)
    check_refusal(ended.returncode, ended.stderr)
