"""Sources of the page's runtime: npm, a tarball, a folder, the cache; and nothing else is accepted."""

import base64
import hashlib
import io
import os
import sys
import tarfile

import pytest

from ganpress.demo import page_runtime as runtime
from ganpress.demo.page_runtime import FILES_SHA256, TARBALL, find_runtime
from ganpress.errors import ConfigError, ServiceUnavailable

CONTENTS = {name: f"contents of {name}".encode() for name in FILES_SHA256}


def write_tarball(path, contents):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in (contents | {"ort.webgl.js": b"not needed"}).items():
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A small tarball whose digests are those that are pinned."""
    tarball = write_tarball(tmp_path / TARBALL, CONTENTS)
    digest = base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode()
    monkeypatch.setattr(runtime, "TARBALL_SHA512", digest)
    monkeypatch.setattr(
        runtime, "FILES_SHA256", {name: hashlib.sha256(content).hexdigest() for name, content in CONTENTS.items()}
    )
    return tarball


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """(Python source) -> a program `npm` of that source is all that the PATH holds."""

    def install(source):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "npm").write_text(f"#!{sys.executable}\nimport shutil, sys\n{source}\n")
        (folder / "npm").chmod(0o755)
        monkeypatch.setenv("PATH", str(folder))

    return install


def delivers(tarball):
    """Source of an npm that packs `tarball`."""
    return f"shutil.copy({str(tarball)!r}, sys.argv[sys.argv.index('--pack-destination') + 1])"


def test_tarball_is_unpacked_to_what_is_needed(published, tmp_path):
    found = find_runtime(tmp_path / "cache", published)
    assert {path.name: path.read_bytes() for path in found.folder.iterdir()} == CONTENTS
    assert {path.name for path in found.files(webgpu=True)} == set(CONTENTS)
    assert {path.name for path in found.files()} == set(CONTENTS) - set(runtime.OF_WEBGPU)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [found.folder.name]  # nothing half done beside it


def test_cache_spares_npm(published, tmp_path, monkeypatch):
    find_runtime(tmp_path / "cache", published)
    monkeypatch.setenv("PATH", os.devnull)
    assert find_runtime(tmp_path / "cache").folder.is_relative_to(tmp_path / "cache")


def test_damaged_cache_is_fetched_again(published, tmp_path, npm):
    kept = find_runtime(tmp_path / "cache", published)
    (kept.folder / next(iter(CONTENTS))).write_bytes(b"damaged")
    npm(delivers(published))
    found = find_runtime(tmp_path / "cache")
    assert {path.name: path.read_bytes() for path in found.folder.iterdir()} == CONTENTS


@pytest.mark.parametrize("inside", ["", "dist", "package/dist"])
def test_folder_is_used_where_it_lies(published, tmp_path, inside):
    given = tmp_path / "given"
    (given / inside).mkdir(parents=True)
    for name, content in CONTENTS.items():
        (given / inside / name).write_bytes(content)
    assert find_runtime(tmp_path / "cache", given).folder == given / inside
    assert not (tmp_path / "cache").exists()


def test_folder_of_another_version_is_refused(tmp_path):
    for name, content in CONTENTS.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=r"ort.wasm.bundle.min.mjs is not that of onnxruntime-web 1.30.0 \(sha256"):
        find_runtime(tmp_path / "cache", tmp_path)


def test_folder_without_it_is_refused(tmp_path):
    with pytest.raises(
        ConfigError, match=r"has no ort.wasm.bundle.min.mjs and ort-wasm-.* and ort-.*asyncify.wasm; give"
    ):
        find_runtime(tmp_path / "cache", tmp_path)


def test_other_tarball_is_refused(tmp_path):
    other = write_tarball(tmp_path / "other.tgz", CONTENTS)
    expected = (
        r"--runtime .*other.tgz is not onnxruntime-web-1.30.0.tgz as published: its integrity is sha512-\S+…, exp"
    )
    with pytest.raises(ConfigError, match=expected):
        find_runtime(tmp_path / "cache", other)
    assert not (tmp_path / "cache").exists()


def test_missing_tarball_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"--runtime .*nowhere.tgz does not exist; give onnxruntime-web-1.30.0.tgz"):
        find_runtime(tmp_path / "cache", tmp_path / "nowhere.tgz")


def test_without_npm_it_says_how_to_go_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", os.devnull)
    expected = r"npm is not installed, .*`npm pack onnxruntime-web@1.30.0` elsewhere and give the file with --runtime"
    with pytest.raises(ServiceUnavailable, match=expected):
        find_runtime(tmp_path / "cache")


def test_npms_failure_is_told(tmp_path, npm):
    npm("sys.exit('npm error code ENOTFOUND')")
    expected = r"npm could not fetch onnxruntime-web@1.30.0 \(npm error code ENOTFOUND\); connect to a registry, or"
    with pytest.raises(ServiceUnavailable, match=expected):
        find_runtime(tmp_path / "cache")


def test_what_npm_delivers_is_checked(tmp_path, npm):
    npm(delivers(write_tarball(tmp_path / TARBALL, CONTENTS)))
    with pytest.raises(ConfigError, match=r"npm's tarball is not onnxruntime-web-1.30.0.tgz as published"):
        find_runtime(tmp_path / "cache")
