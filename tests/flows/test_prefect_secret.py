"""The file with the secret of Prefect's API: private, complete, kept, and otherwise replaced."""

import os
import re
import stat
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from flows.prefect_secret import NAME, offer_secret, read_secret, secret_of
from ganpress.errors import ServiceUnavailable

NOBODY = 65534


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_made_once_with_256_random_bits_and_kept(tmp_path):
    home = tmp_path / "deep" / ".prefect"
    secret = secret_of(home)
    assert re.fullmatch(r"ganpress:[A-Za-z0-9_-]{43}", secret)  # 43 letters of 6 bits hold 256
    assert secret_of(home) == read_secret(home) == secret
    assert (mode(home), mode(home / NAME)) == (0o700, 0o600)
    assert secret_of(tmp_path / "other") != secret
    assert sorted(path.name for path in home.iterdir()) == [NAME, f"{NAME}.lock"]


def test_open_folder_of_before_is_closed(tmp_path):
    tmp_path.chmod(0o755)
    secret_of(tmp_path)
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_umask_does_not_matter(tmp_path, umask):
    before = os.umask(umask)
    try:
        secret_of(tmp_path / "home")
    finally:
        os.umask(before)
    assert (mode(tmp_path / "home"), mode(tmp_path / "home" / NAME)) == (0o700, 0o600)


def damage(kind, path):
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "half":
        path.write_bytes(path.read_bytes()[:20])
    elif kind == "noise":
        path.write_bytes(bytes(range(256)))
    elif kind == "long":
        path.write_bytes(b"ganpress:" + b"a" * 10_000_000)
    elif kind == "readable by others":
        path.chmod(0o644)
    elif kind == "readable by the group":
        path.chmod(0o640)
    elif kind == "link":
        path.rename(path.with_name("elsewhere"))
        path.symlink_to("elsewhere")
    else:
        path.unlink()
        os.mkfifo(path, 0o600)


KINDS = ["empty", "half", "noise", "long", "readable by others", "readable by the group", "link", "fifo"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_or_seen_by_others_is_made_anew(tmp_path, kind):
    before = secret_of(tmp_path)
    damage(kind, tmp_path / NAME)
    assert read_secret(tmp_path) is None
    after = secret_of(tmp_path)
    assert after != before
    assert read_secret(tmp_path) == after
    assert mode(tmp_path / NAME) == 0o600
    assert not (tmp_path / NAME).is_symlink()


def test_many_at_once_make_one(tmp_path):
    found = []
    threads = [threading.Thread(target=lambda: found.append(secret_of(tmp_path))) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert len(set(found)) == 1


def test_a_folder_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    for home in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(ServiceUnavailable, match="cannot be kept in .* name another folder with PREFECT_HOME"):
            secret_of(home)
    (tmp_path / "home" / NAME).mkdir(parents=True)
    with pytest.raises(ServiceUnavailable, match="cannot be kept in"):
        secret_of(tmp_path / "home")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_second_user_cannot_read_it():
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # that of pytest is closed
        secret_of(Path(folder) / "home")
        (Path(folder) / "open").write_text("for all")
        for name, code in (("open", 0), (f"home/{NAME}", 1), ("home", 1)):
            program = "/bin/ls" if name == "home" else "/bin/cat"
            command = [program, f"{folder}/{name}"]
            as_nobody = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            ended = subprocess.run(command, **as_nobody, capture_output=True, text=True, env={"LC_ALL": "C"})
            assert min(ended.returncode, 1) == code
            assert ("Permission denied" in ended.stderr) == bool(code)


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://127.0.0.1:4200/api", True),
        ("http://localhost:4200/api", True),
        ("http://[::1]:4200/api", True),
        ("http://example.org/api", False),
        ("http://127.0.0.1.example.org/api", False),
        ("https://api.prefect.cloud/api/accounts/x", False),
        ("http://[broken", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_offered_to_servers_of_this_machine_alone(tmp_path, url, sent):
    secret = secret_of(tmp_path)
    environment = {"PREFECT_API_URL": url, "PREFECT_HOME": str(tmp_path)}
    offer_secret(environment)
    assert environment.get("PREFECT_API_AUTH_STRING") == (secret if sent else None)
    environment |= {"PREFECT_API_AUTH_STRING": "the user's own"}
    offer_secret(environment)
    assert environment["PREFECT_API_AUTH_STRING"] == "the user's own"
