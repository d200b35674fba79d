"""Splits a module into its top-level statements: what each binds, what it refers to, and a digest of what it does.

Docstrings, comments, positions and annotations of functions and variables are not part of a digest. Annotations in
classes are, because pydantic and dataclasses read them, and so are those of a function with a decorator that may read
them. The digest uses its own form of the syntax tree, because `ast.dump` and `ast.unparse` change with the version of
Python. Empty fields are left out, because new versions add some.
"""

import ast
import contextlib
import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

PURE_DECORATORS = frozenset(
    {
        "abstractmethod", "cache", "cached_property", "classmethod", "contextmanager", "dataclass", "enable_grad",
        "field_validator", "final", "full_precision", "inference_mode", "keeps_former", "lru_cache", "model_validator",
        "no_grad", "once_differentiable", "overload", "override", "property", "runtime_checkable", "setter",
        "staticmethod", "total_ordering", "wraps",
    }
)  # fmt: skip
"""Last words of decorators that only change the function itself and do not read its annotations."""
DYNAMIC = frozenset({"__import__", "__name__", "eval", "exec", "globals", "sys.modules"})
DYNAMIC_ATTRIBUTES = frozenset({"__subclasses__", "import_module"})
"""Names through which code reaches other code without naming it."""
NAME = re.compile(r"[\w.:-]{1,120}")
"""Pattern of a text that can name a module or an entry of a registry."""
PARSINGS = 5
SILENT_FIELDS = frozenset({"ctx", "kind", "type_comment"})


@dataclass(frozen=True)
class Import:
    """One name that an import statement binds."""

    local: str
    module: str
    attribute: str
    """Name taken from the module; empty if the module itself is bound."""


@dataclass(frozen=True)
class Entry:
    """One element of a registry."""

    key: str
    """Its name if it is written as text; empty if another object holds it."""
    names: tuple[str, ...]
    texts: tuple[str, ...]
    digest: str


@dataclass(frozen=True)
class Statement:
    """One top-level statement of a module, or one name of an import statement."""

    binds: tuple[str, ...]
    names: tuple[str, ...]
    """Dotted names that it refers to: `nn.Module`, `TARGETS`, and `TARGETS[]` if it only looks a name up."""
    texts: tuple[str, ...]
    imports: tuple[Import, ...]
    runs: bool
    """Whether it does more than bind names, so that it counts if its module is imported."""
    main: bool
    """Whether it runs only if its module is the program."""
    digest: str
    own_name: str = ""
    """Name of a class, or of the created object, in registries, i.e. the text of its attribute `name`."""
    entries: tuple[Entry, ...] = ()
    """Elements of a registry, which its own digest, names and texts leave out."""

    @property
    def is_import(self) -> bool:
        """Whether it is only a name of an import."""
        return not self.names and len(self.imports) == 1 and self.binds == (self.imports[0].local,)


def read_statements(source: str, module: str, is_package: bool, registries: frozenset[str]) -> tuple[Statement, ...]:
    """Split a module into statements.

    Args:
        source: text of the module.
        module: dotted name of the module.
        is_package: whether the module is an `__init__.py`.
        registries: registries in the module whose elements count one by one.

    Raises:
        SyntaxError: if it is not Python.
    """
    package = module if is_package else module.rpartition(".")[0]
    tree = parse_source(source)
    found = [statement for node in tree.body for statement in _statements(node, package, registries)]
    bound, used = {name for one in found for name in one.binds}, set(_used_words(tree))
    return tuple(_for_its_effect(_of_this_project(one, bound), used) for one in found)


def parse_source(source: str | bytes) -> ast.Module:
    """Run `ast.parse`, again if another thread (of Prefect, say) parsed meanwhile, because CPython then miscounts the
    depth.

    Raises:
        SyntaxError: if it is not Python.
    """
    for _ in range(PARSINGS - 1):
        with contextlib.suppress(SystemError):
            return ast.parse(source)
    return ast.parse(source)


def root_of(name: str) -> str:
    """Return the first word of a dotted name."""
    return name.partition(".")[0].removesuffix("[]")


def statement_of(content: dict[str, Any]) -> Statement:
    """Convert the content of a JSON file to a statement; the inverse of `dataclasses.asdict`."""
    entries = tuple(
        Entry(one["key"], tuple(one["names"]), tuple(one["texts"]), one["digest"]) for one in content["entries"]
    )
    imports = tuple(Import(**one) for one in content["imports"])
    texts = {key: tuple(content[key]) for key in ("binds", "names", "texts")}
    return Statement(**{**content, **texts, "imports": imports, "entries": entries})


def _of_this_project(statement: Statement, bound: set[str]) -> Statement:
    """Remove local names and names of Python itself, which need not be followed."""
    known = bound | {one.local for one in statement.imports}
    if "*" in bound:
        return statement
    names = (name for name in statement.names if root_of(name) in known or is_dynamic(name))
    return replace(statement, names=tuple(names))


def is_dynamic(name: str) -> bool:
    """Return whether a dotted name reaches code that is not named."""
    return name in DYNAMIC or name.rpartition(".")[2] in DYNAMIC_ATTRIBUTES


def _for_its_effect(statement: Statement, used: set[str]) -> Statement:
    """Mark an imported name that its module never uses as running, because the import has an effect of its own."""
    if not statement.is_import or statement.runs or used.intersection(statement.binds):
        return statement
    return replace(statement, runs=True)


def _used_words(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module uses anywhere, also in annotations written as text."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        for annotation in (getattr(node, "annotation", None), getattr(node, "returns", None)):
            if isinstance(annotation, ast.AST):
                texts = (one.value for one in ast.walk(annotation) if isinstance(one, ast.Constant))
                yield from (word for text in texts if isinstance(text, str) for word in re.findall(r"\w+", text))


def _statements(node: ast.stmt, package: str, registries: frozenset[str]) -> Iterator[Statement]:
    if _is_words(node):
        return
    if isinstance(node, ast.Import | ast.ImportFrom):
        for one in _imports(node, package):
            if one.module != "__future__":
                text = f"{one.local}={one.module}:{one.attribute}"
                yield Statement((one.local,), (), (), (one,), one.local == "*", False, _hash(text))
        return
    reader = _Reader(package)
    names = _bound(node)
    entries: tuple[Entry, ...] = ()
    elements = _elements(node) if registries.intersection(names) else None
    if elements is not None:
        entries = tuple(_entry(key, element, package) for key, element in elements)
        reader.skipped = {id(element) for _, element in elements} | _keys(node)
    reader.read(node)
    if reader.empty:
        return
    main = isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"
    if isinstance(node, ast.Assign | ast.AnnAssign) or main:
        reader.names.discard("__name__")  # the name of a logger
    yield Statement(
        tuple(names),
        tuple(sorted(reader.names)),
        tuple(sorted(reader.texts)),
        tuple(reader.imports),
        not main and not _only_binds(node),
        main,
        reader.digest(),
        _own_name(node),
        entries,
    )


def _is_words(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _imports(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.asname or alias.name.partition(".")[0], alias.name, "")
        return
    module = node.module or ""
    if node.level:
        parents = package.split(".")[: len(package.split(".")) - node.level + 1]
        module = ".".join([*parents, *([module] if module else [])])
    for alias in node.names:
        yield Import(alias.asname or alias.name, module, alias.name)


def _bound(node: ast.stmt) -> list[str]:
    """Return the names that a top-level statement binds in its module."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        walrus = [one.target for one in ast.walk(node) if isinstance(one, ast.NamedExpr)]
        return [one.id for target in (*targets, *walrus) for one in ast.walk(target) if isinstance(one, ast.Name)]
    names: list[str] = []
    for one in ast.walk(node):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load):
            names.append(one.id)
        elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.append(one.name)
        elif isinstance(one, ast.Import | ast.ImportFrom):
            names += [alias.asname or alias.name.partition(".")[0] for alias in one.names]
    return list(dict.fromkeys(names))


def _only_binds(node: ast.stmt) -> bool:
    """Return whether a statement is a definition, which has no effect until its name is used."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return all(_last_word(one) in PURE_DECORATORS for one in node.decorator_list)
    if isinstance(node, ast.Assign):
        return all(_is_plain_target(target) for target in node.targets)
    return isinstance(node, ast.AnnAssign | ast.AugAssign) and _is_plain_target(node.target)


def _is_plain_target(node: ast.expr) -> bool:
    if isinstance(node, ast.Tuple | ast.List):
        return all(map(_is_plain_target, node.elts))
    return isinstance(node, ast.Name)


def _own_name(node: ast.stmt) -> str:
    """Return the text that a class binds to `name`, or with which an object is created."""
    if isinstance(node, ast.ClassDef):
        for one in node.body:
            value = getattr(one, "value", None) if isinstance(one, ast.Assign | ast.AnnAssign) else None
            if value is not None and "name" in _bound(one):
                return _text(value)
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    keywords = value.keywords if isinstance(value, ast.Call) else []
    return next((_text(one.value) for one in keywords if one.arg == "name"), "")


def _text(node: ast.expr) -> str:
    """Return the text of a constant; empty for anything else."""
    value = node.value if isinstance(node, ast.Constant) else None
    return value if isinstance(value, str) else ""


def _last_word(node: ast.expr) -> str:
    if isinstance(node, ast.Call):
        return _last_word(node.func)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _elements(node: ast.stmt) -> list[tuple[str, ast.expr]] | None:
    """Return (key, element) of an assigned registry; None if its elements cannot be distinguished."""
    value = _table(node)
    if isinstance(value, ast.Dict):
        keys = [_text(key) if key is not None else "" for key in value.keys]
        return list(zip(keys, value.values, strict=True)) if all(keys) else None
    if isinstance(value, ast.Subscript):  # Literal["onnx", "openvino"]
        value = value.slice
    if isinstance(value, ast.DictComp | ast.GeneratorExp | ast.ListComp):
        value = value.generators[0].iter
    if not isinstance(value, ast.Tuple | ast.List | ast.Set):
        return None
    return [(_text(element), element) for element in value.elts]


def _keys(node: ast.stmt) -> set[int]:
    """Return the identities of the keys of an assigned dict."""
    value = _table(node)
    return set(map(id, value.keys)) if isinstance(value, ast.Dict) else set()


def _table(node: ast.stmt) -> ast.expr | None:
    """Return the assigned value; for a call such as `Registry("metric", …, {…})` its last argument."""
    value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
    return value.args[-1] if isinstance(value, ast.Call) and value.args else value


def _entry(key: str, element: ast.expr, package: str) -> Entry:
    reader = _Reader(package)
    reader.read(element)
    return Entry(key, tuple(sorted(reader.names)), tuple(sorted(reader.texts)), _hash(f"{key}:{reader.digest()}"))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


class _Reader:
    """Writes a syntax tree in a stable form, and collects the names, texts and imports in it."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._parts: list[str] = []
        self.names: set[str] = set()
        self.texts: set[str] = set()
        self.imports: list[Import] = []
        self.skipped: set[int] = set()

    @property
    def empty(self) -> bool:
        return not self._parts

    def digest(self) -> str:
        return _hash("".join(self._parts))

    def read(self, node: ast.AST, in_class: bool = False) -> None:
        """Read one node and all below it.

        Args:
            node: any node.
            in_class: whether it is in a class body, where annotations are read when the program runs.
        """
        if self._is_left_out(node):
            return
        if isinstance(node, ast.Attribute) and node.attr in DYNAMIC_ATTRIBUTES:
            self.names.add(node.attr)
        if isinstance(node, ast.If) and _last_word(node.test) == "TYPE_CHECKING":
            self._read_list(node.orelse, in_class)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):  # the name is bound here, not referred to
            self._parts.append(f"<{node.id}>")
        elif isinstance(node, ast.Name | ast.Attribute) and (dotted := _dotted(node)):
            self._refer(dotted)
        elif isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            self._refer(f"{node.value.id}[]")
            self._read_fields(node, in_class, without=("value",))
        elif isinstance(node, ast.Constant):
            self._parts.append(repr(node.value))
            if isinstance(node.value, str) and NAME.fullmatch(node.value):
                self.texts.add(node.value)
        else:
            self._read_compound(node, in_class)

    def _read_compound(self, node: ast.AST, in_class: bool) -> None:
        """Read a node with child nodes."""
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            seen = all(_last_word(one) in PURE_DECORATORS for one in node.decorator_list)
            self._read_fields(node, not seen, without=("returns",) if seen else ())
        elif isinstance(node, ast.ClassDef):
            self._read_fields(node, True)
        elif isinstance(node, ast.arg | ast.AnnAssign) and not in_class:
            self._read_fields(node, in_class, without=("annotation", "simple"))
        elif isinstance(node, ast.Compare) and all(isinstance(one, ast.In | ast.NotIn) for one in node.ops):
            self._read_membership(node, in_class)
        else:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self.imports += _imports(node, self._package)
            elif isinstance(node, ast.Global):
                self.names.update(node.names)
            self._read_fields(node, in_class)

    def _read_membership(self, node: ast.Compare, in_class: bool) -> None:
        """Read a comparison; `name in REGISTRY` only looks a name up."""
        self._parts.append("(Compare")
        self.read(node.left, in_class)
        for operator, one in zip(node.ops, node.comparators, strict=True):
            self._parts.append(type(operator).__name__)
            if isinstance(one, ast.Name):
                self._refer(f"{one.id}[]")
            else:
                self.read(one, in_class)
        self._parts.append(")")

    def _read_fields(self, node: ast.AST, in_class: bool, without: Sequence[str] = ()) -> None:
        self._parts.append(f"({type(node).__name__}")
        for name in node._fields:
            value = getattr(node, name, None)
            if value is None or name in SILENT_FIELDS or name in without or self._is_empty(value):
                continue
            self._parts.append(f" {name}=")
            if isinstance(value, list):
                self._read_list(value, in_class)
            elif isinstance(value, ast.AST):
                self.read(value, in_class)
            else:
                self._parts.append(repr(value))
        self._parts.append(")")

    def _read_list(self, values: Sequence[object], in_class: bool) -> None:
        for value in values:
            if not isinstance(value, ast.AST):
                self._parts.append(f"{value!r},")
            elif not self._is_left_out(value):
                self.read(value, in_class)
                self._parts.append(",")

    def _is_empty(self, value: object) -> bool:
        """Return whether a field is a list without counting elements, e.g. the entries of a registry."""
        return isinstance(value, list) and all(isinstance(one, ast.AST) and self._is_left_out(one) for one in value)

    def _is_left_out(self, node: ast.AST) -> bool:
        return id(node) in self.skipped or _is_words(node)

    def _refer(self, name: str) -> None:
        self.names.add(name)
        self._parts.append(f"<{name}>")


def _dotted(node: ast.expr) -> str:
    """Return `a.b.c` for an attribute of a name; empty for an attribute of anything else."""
    if isinstance(node, ast.Name):
        return node.id
    base = _dotted(node.value) if isinstance(node, ast.Attribute) else ""
    return f"{base}.{node.attr}" if base and isinstance(node, ast.Attribute) else ""
