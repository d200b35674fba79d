"""Which parts of a module's text count as code, and which do not."""

import pytest

from ganpress.executed_code.statements import read_statements

SAME = {
    "docstring of the module": ('"""One."""\nX = 1\n', '"""Two."""\nX = 1\n'),
    "a docstring that was not there": ("def f():\n    return 1\n", 'def f():\n    """One."""\n    return 1\n'),
    "docstring of an attribute": ('X = 1\n"""One."""\n', 'X = 1\n"""Two."""\n'),
    "docstring of a method": ('class A:\n    def f(self):\n        "One."\n        return 1\n',
                              'class A:\n    def f(self):\n        "Two."\n        return 1\n'),
    "comment": ("X = 1  # one\n", "# two\nX = 1\n"),
    "position": ("X = 1\ndef f():\n    return (1 +\n        2)\n", "X = 1\n\n\ndef f():\n    return 1 + 2\n"),
    "annotation of an argument": ("def f(a: int):\n    return a\n", "def f(a: float):\n    return a\n"),
    "annotation of what is returned": ("def f() -> int:\n    return 1\n", "def f() -> float:\n    return 1\n"),
    "annotation under a plain decorator": ("@property\ndef f(a: int): return a\n", "@property\ndef f(a): return a\n"),
    "annotation of a method": ("class A:\n    def f(self, a: int): return a\n",
                               "class A:\n    def f(self, a): return a\n"),
    "annotation of a variable": ("X: int = 1\n", "X: float = 1\n"),
    "annotation of a local variable": ("def f():\n    a: int = 1\n", "def f():\n    a: float = 1\n"),
    "import for type checkers": ("if TYPE_CHECKING:\n    import a\nX = 1\n",
                                 "if TYPE_CHECKING:\n    import b\nX = 1\n"),
}  # fmt: skip
OTHER = {
    "constant": ("X = 1\n", "X = 2\n"),
    "type of a constant": ("X = 1\n", "X = 1.0\n"),
    "constant in a function": ("def f():\n    return 1\n", "def f():\n    return 2\n"),
    "operator": ("def f(a):\n    return a + 1\n", "def f(a):\n    return a - 1\n"),
    "default": ("def f(a=1):\n    return a\n", "def f(a=2):\n    return a\n"),
    "name of an argument": ("def f(a, b):\n    return a\n", "def f(b, a):\n    return a\n"),
    "decorator": ("@cache\ndef f():\n    return 1\n", "def f():\n    return 1\n"),
    "annotation of a field": ("class A(B):\n    a: int\n", "class A(B):\n    a: float\n"),
    "annotation under another decorator": ("@op\ndef f(a: int): return a\n", "@op\ndef f(a: float): return a\n"),
    "base": ("class A(B):\n    a = 1\n", "class A(C):\n    a = 1\n"),
    "text in an expression": ("f('one')\n", "f('two')\n"),
    "f-string": ("def f(a):\n    return f'{a:>3}'\n", "def f(a):\n    return f'{a:>4}'\n"),
    "module of an import": ("from a import x\nx()\n", "from b import x\nx()\n"),
    "global": ("def f():\n    global X\n    X = 1\n", "def f():\n    X = 1\n"),
    "membership": ("def f(a):\n    return a in X\n", "def f(a):\n    return a not in X\n"),
    "what else than type checkers see": ("if TYPE_CHECKING:\n    pass\nelse:\n    X = 1\n",
                                         "if TYPE_CHECKING:\n    pass\nelse:\n    X = 2\n"),
}  # fmt: skip


def _digests(source):
    return [one.digest for one in read_statements(source, "ganpress.one", False, frozenset())]


@pytest.mark.parametrize(("one", "other"), SAME.values(), ids=SAME)
def test_words_are_no_code(one, other):
    assert _digests(one) == _digests(other)


@pytest.mark.parametrize(("one", "other"), OTHER.values(), ids=OTHER)
def test_whatever_is_executed_counts(one, other):
    assert _digests(one) != _digests(other)


@pytest.mark.parametrize(
    ("source", "runs"),
    [
        ("X = 1\n", False),
        ("A, B = 1, 2\n", False),
        ("def f(): pass\n", False),
        ("@dataclass(frozen=True)\nclass A: pass\n", False),
        ("@register\ndef f(): pass\n", True),
        ("register(1)\n", True),
        ("X[1] = 2\n", True),
        ("a.b = 2\n", True),
        ("for a in b: pass\n", True),
        ("import os\nos.getcwd()\n", False),
        ("import os\n", True),
    ],
)
def test_statements_that_do_more_than_bind_names(source, runs):
    assert read_statements(source, "ganpress.one", False, frozenset())[0].runs == runs


def test_relative_imports_are_followed():
    (one,) = read_statements("from ..data import x\n", "ganpress.deep.inner", False, frozenset())
    assert (one.imports[0].module, one.imports[0].attribute) == ("ganpress.data", "x")


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("R = {'a': f, 'b': g}\n", ["a", "b"]),
        ("R: dict = {'a': f, **more}\n", []),
        ("R = Literal['a', 'b']\n", ["a", "b"]),
        ("R = {one.name: one for one in (A(), B())}\n", ["", ""]),
        ("R = (A, B)\n", ["", ""]),
        ("R = make()\n", []),
    ],
)
def test_forms_of_registries(source, keys):
    (one,) = read_statements(source, "ganpress.one", False, frozenset({"R"}))
    assert [entry.key for entry in one.entries] == keys


def test_entries_are_no_part_of_their_registry():
    one, other = (
        read_statements(source, "ganpress.one", False, frozenset({"R"}))[0]
        for source in ("R = {'a': f}\n", "R = {'a': f, 'b': g}\n")
    )
    assert one.digest == other.digest
    assert one.entries[0] == other.entries[0]
