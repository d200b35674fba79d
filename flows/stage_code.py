"""The digest of a stage's code, written before DVC compares it."""

from pathlib import Path

from ganpress.executed_code.digests import StageCode


def write_code(root: Path, stage: str, code: StageCode) -> bool:
    """Write the digest of a stage's code to its file if it has changed.

    The file is not changed while DVC runs a stage that reads it, because DVC locks the content at the end of the stage.

    Args:
        root: the folder of dvc.yaml.
        stage: DVC's name of the stage.
        code: the code of the project's stages.

    Returns:
        Whether the file holds the digest; False while a stage that reads it runs.

    Raises:
        ConfigError: if a file is not valid Python.
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
