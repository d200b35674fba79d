"""Runs git as a command. GitPython runs the same command, but importing it takes a fifth of a second in every
`status`.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ganpress.errors import ConfigError


class GitFailed(ConfigError):
    """git is not installed, or refused."""


@dataclass(frozen=True)
class GitState:
    """The commit from which a run starts."""

    sha: str | None
    """Full hash of HEAD; None outside git or before the first commit."""
    dirty: bool
    """Whether tracked files differ from HEAD; `dvc.lock`, which every run rewrites, does not count."""


def git(root: Path, *arguments: str) -> bytes:
    """Run git in `root` and return what it prints.

    Raises:
        GitFailed: if git fails; the message holds git's last line.
    """
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, check=False)
    except FileNotFoundError:
        raise GitFailed("git is not installed") from None
    if done.returncode != 0:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no message"])[-1]
        raise GitFailed(f"`git {arguments[0]}` failed in {root}: {last}")
    return done.stdout


def git_state(root: Path) -> GitState:
    """Read the commit of the checkout at `root` and whether its tracked files differ from it."""
    try:
        sha = git(root, "rev-parse", "--verify", "--quiet", "HEAD").decode().strip()
        changed = git(root, "status", "--porcelain", "--untracked-files=no").splitlines()
    except GitFailed:
        return GitState(None, False)
    return GitState(sha, any(not line.endswith(b"dvc.lock") for line in changed))
