"""`--host` of every command that starts a server: this machine alone, unless there is a login."""

import sys

import pytest

from flows.__main__ import main

COMMANDS = [["ui"], ["serve", "--interval", "60"], ["demo"]]


def refused(command, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["ganpress", *command])
    with pytest.raises(SystemExit, match="2"):
        main()
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GANPRESS_LOGIN", raising=False)
    yield tmp_path
    assert [path.name for path in tmp_path.iterdir()] == ["dvc.yaml"]  # nothing was started or made


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", "0"])
def test_other_hosts_are_refused_without_a_login(command, host, monkeypatch, capsys):
    line = refused([*command, "--host", host], monkeypatch, capsys)
    assert line == (
        f"ganpress: --host {host} can be reached from other machines, and no login is configured; set "
        "GANPRESS_LOGIN=user:password (a password of at least 12 characters), or keep 127.0.0.1 and use a tunnel "
        "(docs/security.md)"
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("host", ["", "a b", "http://127.0.0.1"])
def test_what_is_no_host_is_one_line(command, host, monkeypatch, capsys):
    assert "is neither a host name nor an address" in refused([*command, "--host", host], monkeypatch, capsys)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("login", ["ann", "ann:short", ":twelve letters"])
def test_login_that_is_none_is_one_line(command, login, monkeypatch, capsys):
    monkeypatch.setenv("GANPRESS_LOGIN", login)
    for host in ("0.0.0.0", "127.0.0.1"):
        line = refused([*command, "--host", host], monkeypatch, capsys)
        assert "GANPRESS_LOGIN" in line
        assert "twelve" not in line
