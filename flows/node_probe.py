"""Reports what a node has of the project. Ray sends this module itself, so it may import only the standard library."""


def probe(root: str, mark: str) -> dict[str, str]:
    """Return what this node has: the mark in its folder, its code, its torch; empty texts if it lacks them.

    Args:
        root: the project's folder.
        mark: path of a file that the asking process has just written.
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
            # The package is found as a stage would find it, whatever this process has imported already.
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
