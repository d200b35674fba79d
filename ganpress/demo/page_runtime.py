"""onnxruntime-web, the runtime of the page: fetched once from npm, and checked against pinned digests."""

import base64
import hashlib
import logging
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ganpress.basics.whole_files import whole_folder
from ganpress.errors import ConfigError, ServiceUnavailable
from ganpress.files.checkpoint import file_digest

logger = logging.getLogger(__name__)

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
TARBALL = f"{PACKAGE}-{VERSION}.tgz"
TARBALL_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Digest from npm (`npm view onnxruntime-web@1.30.0 dist.integrity`): base64 of the tarball's SHA-512."""
FILES_SHA256 = {
    "ort.wasm.bundle.min.mjs": "11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
    "ort.webgpu.bundle.min.mjs": "0730816731ce2cdfb06f273da065d4a1c7091eb9d1756a83b2916c8a89d015e2",
    "ort-wasm-simd-threaded.asyncify.wasm": "39f9f0894d478800487ed9f7dbe92618498db320cf55c8e3d89adff8dce658da",
}
"""Files of the package's `dist/` that pages need: JavaScript and kernels for CPUs (14 MB), and with WebGPU (27 MB)."""
OF_WEBGPU = ("ort.webgpu.bundle.min.mjs", "ort-wasm-simd-threaded.asyncify.wasm")
"""Files that only pages with generators for WebGPU contain."""
NPM_TIMEOUT_S = 300


@dataclass(frozen=True)
class BrowserRuntime:
    """A folder that holds the files of `FILES_SHA256`, checked."""

    folder: Path

    def files(self, webgpu: bool = False) -> tuple[Path, ...]:
        """Return the files of a page that runs on WebGPU, or only on WebAssembly."""
        return tuple(self.folder / name for name in FILES_SHA256 if webgpu or name not in OF_WEBGPU)


def find_runtime(cache: Path, given: Path | None = None) -> BrowserRuntime:
    """Return the runtime: from `given`, else from the cache, else from npm.

    Args:
        cache: folder that keeps it from one call to the next.
        given: a local copy of the package: its tarball, or a folder with its files (or with `dist/` or `package/dist/`
            of them).

    Raises:
        ConfigError: if `given` is not this version of the package.
        ServiceUnavailable: if npm is needed and is not installed, fails, or delivers something else.
    """
    if given is not None and given.is_dir():
        return _checked_folder(given)
    kept = cache / f"{PACKAGE}-{VERSION}"
    if given is not None:
        return _unpack(given, kept, f"--runtime {given}")
    if _wrong_file(kept) is None:
        return BrowserRuntime(kept)
    with tempfile.TemporaryDirectory(prefix="ganpress-npm-") as folder:
        return _unpack(_npm_pack(Path(folder)), kept, "npm's tarball")


def _checked_folder(given: Path) -> BrowserRuntime:
    for folder in (given, given / "dist", given / "package" / "dist"):
        if all((folder / name).is_file() for name in FILES_SHA256):
            wrong = _wrong_file(folder)
            if wrong is None:
                return BrowserRuntime(folder)
            raise ConfigError(
                f"--runtime {given}: {wrong} is not that of {PACKAGE} {VERSION} (sha256 differs); "
                f"give the folder or tarball of that version, or leave out --runtime to use npm"
            )
    raise ConfigError(f"--runtime {given} has no {' and '.join(FILES_SHA256)}; give {TARBALL} or its folder dist/")


def _wrong_file(folder: Path) -> str | None:
    """The first file that is missing or has another digest."""
    for name, digest in FILES_SHA256.items():
        if not (folder / name).is_file() or file_digest(folder / name, "sha256") != digest:
            return name
    return None


def _npm_pack(folder: Path) -> Path:
    """Let npm download the tarball; it follows the user's own registry and proxy settings."""
    npm = shutil.which("npm")
    if npm is None:
        raise ServiceUnavailable(
            f"npm is not installed, but the page needs {PACKAGE} {VERSION} once; install Node.js, or run "
            f"`npm pack {PACKAGE}@{VERSION}` elsewhere and give the file with --runtime {TARBALL}"
        )
    logger.info("fetching %s %s with npm", PACKAGE, VERSION)
    command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--ignore-scripts", "--silent", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False)
        reason = " ".join(done.stderr.split())[-200:] or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        reason = f"no answer in {NPM_TIMEOUT_S} s"
    if not (folder / TARBALL).is_file():
        raise ServiceUnavailable(
            f"npm could not fetch {PACKAGE}@{VERSION} ({reason}); connect to a registry, or give a local copy with "
            f"--runtime {TARBALL}"
        )
    return folder / TARBALL


def _unpack(tarball: Path, kept: Path, origin: str) -> BrowserRuntime:
    """Check the tarball and keep what is needed of it, whole or not at all."""
    if not tarball.is_file():
        raise ConfigError(f"{origin} does not exist; give {TARBALL}, a folder of it, or leave out --runtime")
    with tarball.open("rb") as content:
        found = base64.b64encode(hashlib.file_digest(content, "sha512").digest()).decode()
    if found != TARBALL_SHA512:
        raise ConfigError(
            f"{origin} is not {TARBALL} as published: its integrity is sha512-{found[:12]}…, expected "
            f"sha512-{TARBALL_SHA512[:12]}…; fetch it again with `npm pack {PACKAGE}@{VERSION}`"
        )
    with whole_folder(kept) as fresh, tarfile.open(tarball) as archive:
        for name in FILES_SHA256:
            member = archive.extractfile(f"package/dist/{name}")
            assert member is not None  # the digest says what is in it
            with (fresh / name).open("wb") as target:
                shutil.copyfileobj(member, target)
    return BrowserRuntime(kept)
