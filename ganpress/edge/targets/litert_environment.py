"""Makes a separate Python environment for LiteRT's converter, whose packages conflict with ganpress's torch.

uv creates it when the converter is first needed, from `litert_requirements.txt`, which pins every package by its hash.
That file is the output, without the comments, of

    uv pip compile --generate-hashes --universal --python-version 3.11 --no-header

for `litert-torch==0.10.0` and `torch==2.14.1`.
"""

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

from filelock import FileLock

from ganpress.basics.whole_files import write_whole
from ganpress.errors import ConfigError

logger = logging.getLogger(__name__)

REQUIREMENTS = Path(__file__).with_name("litert_requirements.txt")
TOOLS = "GANPRESS_TOOLS"
"""Environment variable with the folder of such environments; a run sets it for its stages (`flows.environment`)."""
READY = "ready"
"""Name of a file that is written when all packages are installed."""
INSTALL_SECONDS = 3600


def converter_python() -> Path:
    """Return the Python that has the converter; the first call installs it, which takes minutes.

    Raises:
        ConfigError: if uv is missing, or cannot install the packages, e.g. without a network.
    """
    digest = hashlib.sha256(REQUIREMENTS.read_bytes() + sys.version.split()[0].encode()).hexdigest()
    folder = _below() / f"litert-{digest[:12]}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / READY).exists():
        return python
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not (folder / READY).exists():
            _make(folder, python)
    return python


def _below() -> Path:
    """Return the folder that `TOOLS` names; if it is not set, a folder in the working directory."""
    return Path(os.environ.get(TOOLS) or Path.cwd() / ".ganpress" / "tools")


def _make(folder: Path, python: Path) -> None:
    uv = _uv()
    logger.info("creating an environment for LiteRT's converter in %s, once; it takes minutes and 6 GB", folder)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (
        [*uv, "venv", "--quiet", "--python", sys.executable, str(folder)],
        [*uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(python), "-r", str(REQUIREMENTS)],
    ):
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
            said = done.stderr.strip() if done.returncode else None
        except subprocess.TimeoutExpired:
            said = f"it took more than {INSTALL_SECONDS} s"
        if said is not None:
            shutil.rmtree(folder, ignore_errors=True)
            raise ConfigError(
                f"LiteRT's converter cannot be installed into {folder}: {' '.join(said.split())[-300:]}; connect to a "
                "registry of Python packages and try again, or take another target"
            )
    write_whole(folder / READY, "")


def _uv() -> list[str]:
    """Return the command of uv.

    Raises:
        ConfigError: if it is not installed.
    """
    if (program := shutil.which("uv")) is not None:
        return [program]
    if importlib.util.find_spec("uv") is not None:
        return [sys.executable, "-m", "uv"]
    raise ConfigError("LiteRT's converter needs uv, which is not installed; run `python3 -m pip install uv`")
