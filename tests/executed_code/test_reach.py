"""Which definitions a program reaches."""

import pytest

from ganpress.errors import ConfigError
from ganpress.executed_code import reach as reach_module
from ganpress.executed_code.modules import Modules
from ganpress.executed_code.reach import Reach
from ganpress.executed_code.registry_cuts import Cut

MAIN = 'if __name__ == "__main__":\n    work()\n'
BASE = {
    "tasks/__init__.py": "",
    "tasks/one.py": "from ganpress.tools import used\nimport ganpress.more as more\n\n\ndef work():\n"
    "    from models.late import late\n    used(more.taken, late)\n\n\n" + MAIN,
    "ganpress/__init__.py": "",
    "ganpress/tools.py": "from ganpress.helpers import inner\nLIMIT = 1\nOTHER = 1\n\n\ndef used(*a):\n"
    "    return inner(a) + LIMIT\n\n\ndef unused():\n    return OTHER\n",
    "ganpress/helpers.py": "def inner(a):\n    return len(a)\n\n\ndef outer():\n    return 2\n",
    "ganpress/more.py": "import ganpress.side\nfrom ganpress import noise\n\ntaken = 1\nleft = 1\n",
    "ganpress/side.py": "import logging\nlogging.disable()\n",
    "ganpress/noise.py": "VALUE = 1\n",
    "ganpress/basics/progress.py": "VALUE = 1\n",
    "models/__init__.py": "",
    "models/late.py": "class late:\n    size = 1\n\n    def f(self):\n        return self.size\n",
}


def reached(root, words=(), module="tasks.one"):
    return Reach(Modules(root)).of(module, words)


@pytest.mark.parametrize(
    ("path", "old", "new", "counts"),
    [
        ("tasks/one.py", "used(", "used(0, ", True),
        ("ganpress/tools.py", "LIMIT = 1", "LIMIT = 2", True),
        ("ganpress/tools.py", "OTHER = 1", "OTHER = 2", False),
        ("ganpress/tools.py", "return OTHER", "return 7", False),
        ("ganpress/helpers.py", "len(a)", "len(a) + 1", True),
        ("ganpress/helpers.py", "return 2", "return 3", False),
        ("ganpress/more.py", "taken = 1", "taken = 2", True),
        ("ganpress/more.py", "left = 1", "left = 2", False),
        ("ganpress/side.py", "disable()", "disable(10)", True),  # it runs when it is imported
        ("ganpress/noise.py", "VALUE = 1", "VALUE = 2", False),
        ("ganpress/basics/progress.py", "VALUE = 1", "VALUE = 2", False),
        ("models/late.py", "size = 1", "size = 2", True),
        ("models/late.py", "return self.size", "return 0", True),  # classes count whole
    ],
)
def test_definitions_count_that_something_reached_refers_to(write, path, old, new, counts):
    root = write(BASE)
    before = reached(root).digest
    assert old in BASE[path]
    (root / path).write_text(BASE[path].replace(old, new))
    assert (reached(root).digest != before) == counts


@pytest.mark.parametrize(
    ("use", "counts"),
    [
        ("from ganpress import noise\nwork = noise.VALUE\n", True),
        ("from ganpress import noise\nwork = str(noise)\n", True),  # a module as a value
        ("import ganpress.noise\nwork = ganpress.noise.VALUE\n", True),
        ("import ganpress\nwork = ganpress.noise.VALUE\n", True),
        ("from ganpress.noise import *\nwork = VALUE\n", True),
        ("import importlib\ndef work(a):\n    return importlib.import_module(a)\n", True),
        ("from importlib import import_module\ndef work(a):\n    return import_module(a)\n", True),
        ("def work(a):\n    return eval(a)\n", True),
        ("import sys\ndef work(a):\n    return sys.modules[a]\n", True),
        ("from ganpress.tools import Base\ndef work():\n    return Base.__subclasses__()\n", True),
        ("command = ['python', '-m', 'ganpress.noise']\n", True),
        ("try:\n    from ganpress.noise import VALUE\nexcept ImportError:\n    VALUE = 2\nwork = VALUE\n", True),
        ("from ganpress import lazy\nwork = lazy.VALUE\n", True),  # through its __getattr__
        ("from ganpress.lazy import VALUE as work\nwork()\n", True),
        ("from ganpress import noise\nwork = noise.OTHER\n", False),
        ("import logging\nwork = logging.getLogger(__name__)\n", False),
    ],
)
def test_what_cannot_be_followed_counts_whole(write, use, counts):
    root = write(
        {
            **BASE,
            "tasks/one.py": use,
            "ganpress/noise.py": "VALUE = 1\nOTHER = 5\n",
            "ganpress/lazy/__init__.py": "def __getattr__(name):\n    from ganpress.lazy import one\n"
            "    return getattr(one, name)\n",
            "ganpress/lazy/one.py": "VALUE = 1\n",
            "ganpress/tools.py": "class Base:\n    pass\n",
        }
    )
    before = reached(root).digest
    for path in ("ganpress/noise.py", "ganpress/lazy/one.py"):
        (root / path).write_text((root / path).read_text().replace("VALUE = 1", "VALUE = 2"))
    assert (reached(root).digest != before) == counts


def test_a_process_of_ones_own_counts_as_a_program(write):
    root = write({**BASE, "ganpress/noise.py": "VALUE = 1\n\n\ndef work():\n    return 1\n\n\n" + MAIN})
    command = {"tasks/one.py": "def work():\n    return ['-m', 'ganpress.noise']\n"}
    before = reached(write(command)).digest
    (root / "ganpress/noise.py").write_text("VALUE = 1\n\n\ndef work():\n    return 2\n\n\n" + MAIN)
    assert reached(root).digest != before


def test_data_files_count_with_the_package_that_they_stand_in(write):
    root = write({**BASE, "ganpress/page/__init__.py": "", "ganpress/page/text.py": "X = 1\n",
                  "ganpress/page/templates/page.html": "one", "ganpress/other/__init__.py": "",
                  "ganpress/other/page.html": "one",
                  "tasks/one.py": "from ganpress.page.text import X\nwork = X\n"})  # fmt: skip
    before = reached(root).digest
    write({"ganpress/other/page.html": "two"})
    assert reached(root).digest == before
    write({"ganpress/page/templates/page.html": "two"})
    assert reached(root).digest != before


def test_a_file_that_is_no_python_is_named(write):
    root = write({**BASE, "ganpress/helpers.py": "def inner(:\n"})
    with pytest.raises(ConfigError, match=r"helpers\.py is not valid Python"):
        reached(root)


REGISTRY = {
    "tasks/__init__.py": "",
    "tasks/one.py": "from models.kinds import KINDS\n\n\ndef work(name):\n    return KINDS[name]()\n",
    "tasks/all.py": "from models.kinds import KINDS\n\n\ndef work():\n    return [one() for one in KINDS.values()]\n",
    "models/__init__.py": "",
    "models/kinds.py": "from models.a import a\nfrom models.b import b\n\nKINDS = {'a': a, 'b': b}\n",
    "models/a.py": "def a():\n    return 1\n",
    "models/b.py": "def b():\n    return 1\n",
}


@pytest.mark.parametrize(
    ("module", "words", "only_named", "counts"),
    [
        ("tasks.one", ("a",), False, False),
        ("tasks.one", ("b",), False, True),
        ("tasks.one", ("b:16",), False, True),
        ("tasks.one", None, False, True),
        ("tasks.all", ("a",), False, True),
        ("tasks.all", ("a",), True, False),
    ],
)
def test_entries_of_a_registry_count_where_their_name_is_met(write, monkeypatch, module, words, only_named, counts):
    monkeypatch.setattr(reach_module, "CUTS", {"models.kinds:KINDS": Cut(only_named)})
    monkeypatch.setattr("ganpress.executed_code.registry_cuts.CUTS", {"models.kinds:KINDS": Cut(only_named)})
    root = write(REGISTRY)
    before = reached(root, words, module).digest
    write({"models/b.py": "def b():\n    return 2\n"})
    assert (reached(root, words, module).digest != before) == counts


def test_a_new_entry_changes_nothing_until_it_is_named(write, monkeypatch):
    monkeypatch.setattr(reach_module, "CUTS", {"models.kinds:KINDS": Cut()})
    monkeypatch.setattr("ganpress.executed_code.registry_cuts.CUTS", {"models.kinds:KINDS": Cut()})
    root = write(REGISTRY)
    before, everything = reached(root, ("a",)).digest, reached(root, None).digest
    write(
        {
            "models/c.py": "def c():\n    return 1\n",
            "models/kinds.py": "from models.a import a\nfrom models.b import b\nfrom models.c import c\n\n"
            "KINDS = {'c': c, 'a': a, 'b': b}\n",
        }
    )
    assert reached(root, ("a",)).digest == before
    assert reached(root, ("a", "c")).digest != before
    assert reached(root, None).digest != everything


def test_an_entry_that_is_found_by_another_name_counts_with_it(write, monkeypatch):
    cuts = {"models.kinds:KINDS": Cut(), "models.families:FAMILIES": Cut(True, "models.kinds:KINDS")}
    monkeypatch.setattr(reach_module, "CUTS", cuts)
    monkeypatch.setattr("ganpress.executed_code.registry_cuts.CUTS", cuts)
    families = "def one():\n    return 'b'\n\n\ndef two():\n    return 'a'\n\n\nFAMILIES = {'x': one(), 'y': two()}\n"
    root = write(
        {
            **REGISTRY,
            "models/families.py": families,
            "tasks/one.py": "from models.families import FAMILIES\nfrom models.kinds import KINDS\n\n\n"
            "def work(name):\n    return KINDS[name](), [one for one in FAMILIES.values() if one == name]\n",
        }
    )
    names = {words: reached(root, (words,)).names for words in ("a", "b")}
    assert names == {"a": {"a", "y"}, "b": {"b", "x"}}


def test_the_name_of_a_registered_object_is_its_own(write, monkeypatch):
    cuts = {"models.kinds:KINDS": Cut()}
    monkeypatch.setattr(reach_module, "CUTS", cuts)
    monkeypatch.setattr("ganpress.executed_code.registry_cuts.CUTS", cuts)
    root = write(
        {
            **REGISTRY,
            "models/kinds.py": "from models.a import A\nfrom models.b import B\n\n"
            "KINDS = {one.name: one for one in (A(), B)}\n",
            "models/a.py": "class A:\n    name = 'a'\n",
            "models/b.py": "B = make(name='b')\n",
        }
    )
    assert reached(root, ("a",)).names == {"a"}
    assert reached(root, ("b",)).names == {"b"}
