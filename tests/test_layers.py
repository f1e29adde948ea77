"""The house: no circle of imports at any depth, no file over 400 lines, no crowded folder."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "spider_jax"
LINES, MODULES = 400, 18


def modules() -> dict[str, Path]:
    """Files of the package by module name; a face by the name of its sub-package."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path, known: set[str]) -> set[str]:
    """Modules of the package that a file imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module or ""}
    return found & known


def arrows() -> dict[str, set[str]]:
    known = modules()
    return {name: imports(path, set(known)) for name, path in known.items()}


def circles(arrows: dict[str, set[str]]) -> list[set[str]]:
    """Strongly connected groups of more than one module (Tarjan)."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in arrows[name]:
            if other not in order:
                visit(other)
            if other in stack:
                low[name] = min(low[name], low[other])
        if low[name] == order[name]:
            group = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(group) > 1 or name in arrows[name]:
                found.append(group)

    for name in arrows:
        if name not in order:
            visit(name)
    return found


def test_there_is_no_circle() -> None:
    assert circles(arrows()) == []


def test_a_circle_is_seen() -> None:
    made = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert circles(made) == [{"b", "c"}]


def test_modules_import_modules_and_never_a_face() -> None:
    faces = {name for name, path in modules().items() if path.name == "__init__.py"}
    found = {name: sorted(others & faces) for name, others in arrows().items() if others & faces}
    assert found == {}


def test_no_file_is_too_long() -> None:
    folders = [PACKAGE, ROOT / "bench", ROOT / "tests"]
    lengths = {
        path: len(path.read_text().splitlines()) for f in folders for path in f.rglob("*.py")
    }
    assert [path.name for path, length in lengths.items() if length > LINES] == []


def test_no_folder_is_crowded() -> None:
    count: dict[Path, int] = defaultdict(int)
    for path in modules().values():
        count[path.parent] += path.name != "__init__.py"
    assert {folder.name: n for folder, n in count.items() if n > MODULES} == {}


def test_the_root_holds_three_names() -> None:
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == [
        "__init__.py",
        "demo.py",
        "errors.py",
    ]


def test_no_module_has_the_name_of_what_its_face_exports() -> None:
    """`import spider_jax.x` must give the module x, so no face has a function of that name."""
    known = modules()
    for name, path in known.items():
        if path.name != "__init__.py":
            continue
        lists = [
            node.value
            for node in ast.parse(path.read_text()).body
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
        ]
        exported = {item for value in lists for item in ast.literal_eval(value)}
        assert [item for item in exported if f"{name}.{item}" in known] == [], name


def signatures() -> Iterator[tuple[str, bool, list[str]]]:
    """Every function's place, whether users may call it, and the types of its signature."""

    def inside(node: ast.AST, place: str, public: bool) -> Iterator[tuple[str, bool, list[str]]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef):
                yield from inside(child, f"{place}.{child.name}", public and child.name[0] != "_")
            elif isinstance(child, ast.FunctionDef):
                given = child.args
                every = [*given.posonlyargs, *given.args, *given.kwonlyargs]
                every += filter(None, [given.vararg, given.kwarg])
                types = [*(a.annotation for a in every), child.returns]
                spoken = [ast.unparse(a) for a in types if a is not None]
                yield f"{place}.{child.name}", public and child.name[0] != "_", spoken
                yield from inside(child, f"{place}.{child.name}", False)

    for name, path in modules().items():
        yield from inside(ast.parse(path.read_text()), name, True)


def test_few_signatures_take_anything() -> None:
    anything = [place for place, _, types in signatures() for said in types if said == "Any"]
    assert 0 < len(anything) <= 60, anything


def test_arrays_of_public_signatures_have_a_shape() -> None:
    found = [place for place, public, types in signatures() if public and "NDArray[" in str(types)]
    assert found == []
    assert any("NDArray[" in str(types) for _, _, types in signatures())  # else nothing is seen
