"""The digest of a stage's code, written before DVC compares it."""

from pathlib import Path

from ganpress.executed_code.digests import StageCode


def write_code(root: Path, stage: str, code: StageCode) -> bool:
    """Write the digest of a stage's code to its file, if it is another than is there.

    The file is not touched while DVC runs a stage that reads it: what stands there at the end is what DVC locks.

    Args:
        root: the folder of dvc.yaml.
        stage: DVC's name of it.
        code: the code of the project's stages.

    Returns:
        Whether the digest stands there; False while a stage that reads it runs.

    Raises:
        ConfigError: if a file is not Python.
    """
    from dvc.fs import localfs
    from dvc.lock import LockError
    from dvc.rwlock import rwlock

    name, _, item = stage.partition("@")
    path = code.path_of(name, item or None)
    if path is None or code.is_written(path):
        return True
    file = str((root / path).resolve())
    try:
        with rwlock(str(root / ".dvc" / "tmp"), localfs, f"ganpress: code of {stage}", [], [file], False):
            code.write(path)
    except LockError:
        return False
    return True
