"""Finds the definitions that a program can execute, by following the names to which each definition refers.

A definition is part of the digest ("counts") if a definition that counts refers to its name: directly, through an
import, or as an attribute of an imported module. A class counts completely. A statement that does more than bind names
counts if its module is imported. Code that cannot be followed (a module as a value, `import_module`, `exec`) counts
completely: in case of doubt, code counts.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from ganpress.executed_code.extensions import Extension, extensions_of
from ganpress.executed_code.modules import PACKAGES, Module, Modules
from ganpress.executed_code.registry_cuts import CUTS, Cut
from ganpress.executed_code.statements import Entry, Import, Statement, is_dynamic, root_of

FOREIGN_IMPORTS = ("models.registry", "models.user_modules")
"""Modules that import code by a name given at run time: a user's function, whose sources are recorded in its pin and on
the card of its import; an entry of a registry, which is followed from its text; or an extension (`extensions`).
"""
EXTENSION = "installed"
"""Prefix of an extension's package among the files of a digest."""
LOOKUPS = ("[]", "find", "get", "listing", "unknown")
"""Operations on a registry that only look a name up, or list names in a message."""
STATEMENT, ENTRY, LOOKED_UP = "statement", "entry", "looked up"
IMPORTED, WHOLE, PROGRAM = "imported", "whole", "program"


class Node(NamedTuple):
    """A piece of code that counts."""

    module: str
    kind: str
    """Kind of the node: a `statement`, an `entry` of a registry, a registry in which names are only `looked up`, or a
    module that is `imported`, counts as a `whole` except its code as a program, or is a `program`.
    """
    statement: int = -1
    entry: int = -1


@dataclass(frozen=True)
class Reached:
    """All code that one program can execute."""

    parts: Mapping[str, str]
    """File, relative to the root -> digest of its code that counts."""
    names: frozenset[str]
    """Names of the registry entries that count; downstream programs can read them from the program's files."""
    nodes: frozenset[Node]
    """Statements and entries that count."""

    @property
    def text(self) -> str:
        """Return one line for each file with its path and digest."""
        return "".join(f"{path} {digest}\n" for path, digest in sorted(self.parts.items()))

    @property
    def digest(self) -> str:
        """Return one digest of all files."""
        return hashlib.sha256(self.text.encode()).hexdigest()


class Reach:
    """Follows names through the modules of a project; results are shared by all programs."""

    def __init__(self, modules: Modules) -> None:
        self.modules = modules
        self._edges: dict[Node, frozenset[Node]] = {}
        self._found: dict[tuple[str, frozenset[str] | None], Reached] = {}

    @cached_property
    def vocabulary(self) -> frozenset[str]:
        """Return the names of all entries of all registries."""
        places = [place.partition(":")[::2] for place in CUTS]
        nodes = [
            Node(module, STATEMENT, number)
            for module, name in places
            if module in self.modules
            for number in self.modules[module].bound.get(name, ())
        ]
        own = {self.key(node, entry) for node in nodes for entry in self.statement(node).entries}
        added = {one.name for node in nodes for one in extensions_of(self.statement(node).texts)}
        return frozenset(own | added)

    def of(self, module: str, words: Iterable[str] | None) -> Reached:
        """Follow one program.

        Args:
            module: the program's module, which counts completely.
            words: texts that it can read, some of them names; None if they are unknown, so that all entries count.

        Raises:
            ConfigError: if a file is not Python.
        """
        named = None if words is None else self.vocabulary.intersection(map(_name_in, words))
        if (module, named) not in self._found:
            search = _Search(self, named)
            search.visit(Node(module, PROGRAM))
            while search.visit_named_entries():
                pass
            self._found[module, named] = search.result()
        return self._found[module, named]

    def statement(self, node: Node) -> Statement:
        """Return the statement of a node that is not a module."""
        return self.modules[node.module].statements[node.statement]

    def edges(self, node: Node) -> frozenset[Node]:
        """Return the nodes that count because `node` does, except entries of registries."""
        if node not in self._edges:
            self._edges[node] = frozenset(self._follow(node))
        return self._edges[node]

    def key(self, node: Node, entry: Entry) -> str:
        """Return the name of an entry of the registry `node`; empty if the code does not show it."""
        if entry.key:
            return entry.key
        found = [one for name in entry.names for one in self._resolve(node.module, name, ())]
        names = [self.statement(one).own_name for one in found if one.kind == STATEMENT]
        return next(filter(None, names), "")

    def texts_behind(self, node: Node, entry: Entry) -> frozenset[str]:
        """Return the texts in an entry and in its references, in its own module and in the module that it names."""
        texts, seen = set(entry.texts), set[Node]()
        places = list(self._places(entry.texts))
        waiting = [*places, *(one for name in entry.names for one in self._resolve(node.module, name, ()))]
        own = {node.module, *(place.module for place in places)}
        while waiting:
            one = waiting.pop()
            if one.module not in own or one.kind != STATEMENT or one in seen:
                continue
            seen.add(one)
            texts.update(self.statement(one).texts)
            waiting += self.edges(one)
        return frozenset(texts)

    def imported_by(self, extension: Extension) -> Iterator[Node]:
        """Yield the modules that an extension imports; each counts completely."""
        for module, name in extension.imports():
            inner = f"{module}.{name}"
            if inner in self.modules or module in self.modules:
                yield Node(inner if inner in self.modules else module, WHOLE)

    def _follow(self, node: Node) -> Iterator[Node]:
        module = self.modules[node.module]
        yield Node(node.module, IMPORTED)
        if node.kind == IMPORTED:
            yield from self._imported(module)
        elif node.kind in (WHOLE, PROGRAM):
            for number, statement in enumerate(module.statements):
                if node.kind == PROGRAM or not statement.main:
                    yield Node(node.module, STATEMENT, number)
        elif node.kind == ENTRY:
            entry = self.statement(node).entries[node.entry]
            yield from self._of_names(module, entry.names, entry.texts, ())
        else:
            statement = self.statement(node)
            yield from self._executed(statement.imports)
            yield from self._of_names(module, statement.names, statement.texts, statement.imports)

    def _imported(self, module: Module) -> Iterator[Node]:
        """Yield what the import of a module executes: its own imports, and statements that do more than bind names."""
        yield from self._executed([Import("", module.name, "")])
        for number, statement in enumerate(module.statements):
            if statement.runs:
                yield Node(module.name, STATEMENT, number)
            elif statement.is_import:
                yield from self._executed(statement.imports)

    def _executed(self, imports: Iterable[Import]) -> Iterator[Node]:
        """Yield the modules that imports run, with the packages above them."""
        for one in imports:
            parts = [*one.module.split("."), one.attribute]
            names = [".".join(parts[:length]) for length in range(1, len(parts) + 1)]
            yield from (Node(name, IMPORTED) for name in names if name in self.modules)

    def _of_names(
        self, module: Module, names: Iterable[str], texts: Iterable[str], imports: tuple[Import, ...]
    ) -> Iterator[Node]:
        for name in names:
            yield from self._unnamed(module, name) if is_dynamic(name) else self._resolve(module.name, name, imports)
        # A text may name the module of a child process: `python -m ganpress.edge.proof.peak_memory`.
        yield from (Node(text, PROGRAM) for text in texts if "." in text and text in self.modules)
        yield from self._places(texts)

    def _places(self, texts: Iterable[str]) -> Iterator[Node]:
        """Yield the objects that texts of the form `package.module:OBJECT` name, as entries of registries do."""
        for text in texts:
            module, _, name = text.partition(":")
            if name and module in self.modules:
                yield from self._in_module(module, name)

    def _unnamed(self, module: Module, word: str) -> Iterator[Node]:
        """Yield everything that dynamic code can reach, because it does not name its target."""
        if word == "__name__":
            yield Node(module.name, WHOLE)
        elif module.name not in FOREIGN_IMPORTS:
            yield from (Node(name, WHOLE) for name in self.modules.paths)

    def _resolve(self, module: str, name: str, imports: tuple[Import, ...]) -> Iterator[Node]:
        """Yield the nodes behind a dotted name in a module; `imports` are those of the function that uses it."""
        root = root_of(name)
        rest = "[]" if name.endswith("[]") else name.partition(".")[2]
        for one in imports:
            if one.local == root:
                yield from self._taken(one, rest)
        yield from self._bound(module, root, rest)

    def _bound(self, name: str, word: str, rest: str) -> Iterator[Node]:
        """Yield the nodes behind a word that a module binds; `rest` is the path of attributes taken from it."""
        module = self.modules[name]
        for number in module.bound.get(word, ()):
            statement = module.statements[number]
            is_lookup = bool(statement.entries) and rest in LOOKUPS
            yield Node(name, LOOKED_UP if is_lookup else STATEMENT, number)
            for one in statement.imports:
                if one.local == word:
                    yield from self._taken(one, rest)
        if word not in module.bound:
            for number in module.bound.get("*", ()):
                yield from self._in_module(module.statements[number].imports[0].module, "")

    def _taken(self, one: Import, rest: str) -> Iterator[Node]:
        """Yield the nodes behind an imported name; `import a.b` binds a, `import a.b as c` binds a.b."""
        if one.attribute:
            yield from self._in_module(one.module, f"{one.attribute}.{rest}" if rest else one.attribute)
        else:
            top = one.module.partition(".")[0]
            yield from self._in_module(top if one.local == top else one.module, rest)

    def _in_module(self, name: str, path: str) -> Iterator[Node]:
        """Yield the nodes behind a dotted path in a module, or in a package and the modules below it."""
        if name.partition(".")[0] not in PACKAGES:
            return
        word, _, rest = path.partition(".")
        below = f"{name}.{word}"
        if name in self.modules and word in self.modules[name].bound:
            yield from self._bound(name, word, rest)
        elif word and self.modules.below(below):
            yield from self._in_module(below, rest)
        elif not self.modules.is_observer(below):
            is_closed = word and name in self.modules and "__getattr__" not in self.modules[name].bound
            yield from (Node(one, WHOLE) for one in ([name] if is_closed else self.modules.below(name)))


class _Search:
    """The search of one program through the graph."""

    def __init__(self, reach: Reach, named: frozenset[str] | None) -> None:
        self._reach = reach
        self._seen: set[Node] = set()
        self._named = None if named is None else set[str]()
        self._keys: dict[str, set[str]] = {}
        """Each registry -> names of its entries that count."""
        self._registries: dict[Node, tuple[str, Cut]] = {}
        self._added: dict[str, str] = {}
        """Each extension package with an entry that counts -> its digest."""
        if self._named is not None:
            self._named.update(named or ())

    def visit(self, start: Node) -> None:
        """Mark a node, and all nodes reached from it, as counting."""
        waiting = [start]
        while waiting:
            node = waiting.pop()
            if node in self._seen:
                continue
            self._seen.add(node)
            if node.kind in (STATEMENT, LOOKED_UP):
                statement = self._reach.statement(node)
                self._hear(statement.texts)
                if (cut := _cut_of(node, statement)) is not None:
                    self._registries[node] = cut
            waiting += self._reach.edges(node)

    def visit_named_entries(self) -> bool:
        """Mark entries with known names as counting; return whether there were new ones."""
        before = len(self._seen)
        for node, (registry, cut) in list(self._registries.items()):
            goes_through_all = self._named is None or (node.kind == STATEMENT and not cut.only_named)
            for number, entry in enumerate(self._reach.statement(node).entries):
                one = Node(node.module, ENTRY, node.statement, number)
                if one in self._seen:
                    continue
                key = self._reach.key(node, entry)
                if goes_through_all or self._is_named(node, entry, key, cut):
                    self._hear(entry.texts)
                    if cut.in_files:
                        self._keys.setdefault(registry, set()).add(key)
                    self.visit(one)
            for extension in extensions_of(self._reach.statement(node).texts):
                if goes_through_all or self._named is None or extension.name in self._named:
                    if cut.in_files:
                        self._keys.setdefault(registry, set()).add(extension.name)
                    self._add(extension)
        return len(self._seen) > before

    def _add(self, extension: Extension) -> None:
        """Mark an extension, and what it imports from this project, as counting."""
        if extension.package not in self._added:
            self._added[extension.package] = extension.digest()
            for node in self._reach.imported_by(extension):
                self.visit(node)

    def result(self) -> Reached:
        """Return the result of the search."""
        counted = [node for node in self._seen if node.kind in (STATEMENT, LOOKED_UP, ENTRY)]
        lines: dict[str, list[str]] = defaultdict(list)
        for place in sorted({(node.module, node.statement, node.entry) for node in counted}):
            lines[place[0]].append(self._digest(*place))
        modules = self._reach.modules
        parts = {modules.path_of(name): _short_digest("\n".join(own)) for name, own in lines.items()}
        for package in {modules[name].package for name in lines}:
            parts |= modules.data_of(package)
        parts |= {f"{EXTENSION} {package}": digest for package, digest in self._added.items()}
        names = frozenset(name for keys in self._keys.values() for name in keys if name)
        return Reached(parts, names, frozenset(counted))

    def _digest(self, module: str, statement: int, entry: int) -> str:
        found = self._reach.modules[module].statements[statement]
        return found.entries[entry].digest if entry >= 0 else found.digest

    def _hear(self, texts: Iterable[str]) -> None:
        if self._named is not None:
            self._named.update(map(_name_in, texts))

    def _is_named(self, node: Node, entry: Entry, key: str, cut: Cut) -> bool:
        if self._named is None or not key or key in self._named:
            return True
        others = self._keys.get(cut.found_by, set())
        return bool(others) and not others.isdisjoint(self._reach.texts_behind(node, entry))


def _name_in(text: str) -> str:
    """Return the name in a text: `onnx`, or `wdcgan` from `wdcgan:16`."""
    return text.partition(":")[0]


def _short_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _cut_of(node: Node, statement: Statement) -> tuple[str, Cut] | None:
    """Return name and cut of a registry; None for any other statement."""
    places = (f"{node.module}:{name}" for name in statement.binds)
    return next(((place, CUTS[place]) for place in places if place in CUTS), None)
