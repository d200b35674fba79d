"""What a node is asked before the first stage. Sent as it is, so it may import nothing but the standard library."""


def probe(root: str, mark: str) -> dict[str, str]:
    """Return what this node has of the project: the mark in its folder, its code, its torch; empty where it has none.

    Args:
        root: the project's folder.
        mark: path of a file that whoever asks has just written.
    """
    import hashlib
    import importlib.machinery
    import importlib.metadata
    import pathlib
    import platform
    import sys

    def text_of(path: str) -> str:
        try:
            return pathlib.Path(path).read_text()
        except OSError:
            return ""

    def digest() -> str:
        found = hashlib.sha256()
        for package in ("flows", "ganpress", "models", "tasks"):
            # As a stage would find it, whatever this process has imported already.
            spec = importlib.machinery.PathFinder.find_spec(package, [root, *sys.path])
            if spec is None or spec.origin is None:
                return ""
            folder = pathlib.Path(spec.origin).parent
            for path in sorted(folder.rglob("*.py")):
                found.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
        return found.hexdigest()

    def version(name: str) -> str:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return ""

    facts = {"host": platform.node(), "mark": text_of(mark), "code": digest(), "python": sys.executable}
    return facts | {name: version(name) for name in ("torch", "dvc")}
