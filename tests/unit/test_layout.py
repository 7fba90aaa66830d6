"""The shape of the repository: rules that no linter checks."""

import ast
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "parsec"
MODULES = sorted(SOURCES.rglob("*.py"))
MOST_CONSTRUCTOR_ARGUMENTS = 7
MOST_LINES = 350
CATALOGUES = {"settings.py", "telemetry.py"}
"""Lists of one entry per setting and per metric may be longer."""
MOST_MODULES_PER_CLASS_NAME = 2

DRIVERS = {"chdb", "clickhouse_connect", "confluent_kafka", "redis", "apsw"}
WEB = {"starlette", "uvicorn"}
VERBS = {
    *("help", "run", "build", "test", "test-verbose", "test-cover", "test-integration"),
    *("check", "bench", "soak", "clean", "up", "up-all", "down"),
}

LOCKS = ("requirements.lock", "requirements-dev.lock")

modules = pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(SOURCES)))


def imported(module: Path) -> set[str]:
    """Names of modules that `module` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names.add(node.module or "")
    return names


def part_of(module: Path) -> str:
    """The first name below parsec: `web` of web/app.py, `wiring` of wiring.py."""
    return module.relative_to(SOURCES).with_suffix("").parts[0]


@modules
def test_a_module_says_what_it_is(module: Path) -> None:
    tree = ast.parse(module.read_text())
    is_empty_package = module.name == "__init__.py" and not tree.body
    assert ast.get_docstring(tree) or is_empty_package


@modules
def test_a_module_is_named_for_what_it_does(module: Path) -> None:
    assert not {"utils", "util", "helpers", "helper", "manager", "base", "common", "misc"} & set(module.stem.split("_"))


@modules
def test_drivers_are_known_to_adapters_only_and_the_web_framework_to_web_only(module: Path) -> None:
    roots = {name.partition(".")[0] for name in imported(module)}
    assert part_of(module) == "adapters" or not roots & DRIVERS
    assert part_of(module) == "web" or not roots & WEB


@modules
def test_adapters_are_imported_by_the_wiring_and_each_other_only(module: Path) -> None:
    if part_of(module) not in ("adapters", "wiring", "cli"):
        assert not [name for name in imported(module) if name.startswith("parsec.adapters")]


@modules
def test_constructors_take_few_arguments(module: Path) -> None:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef) and node.name == "__init__":
            count = len(node.args.posonlyargs) + len(node.args.args) - 1 + len(node.args.kwonlyargs)
            assert count <= MOST_CONSTRUCTOR_ARGUMENTS, f"line {node.lineno}"


@modules
def test_a_module_is_short(module: Path) -> None:
    assert module.name in CATALOGUES or len(module.read_text().splitlines()) <= MOST_LINES


def test_a_class_name_says_which_class_is_meant() -> None:
    named: dict[str, set[Path]] = {}
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef):
                named.setdefault(node.name, set()).add(module.relative_to(SOURCES))
    assert {name: found for name, found in named.items() if len(found) > MOST_MODULES_PER_CLASS_NAME} == {}


def test_a_public_constant_has_one_value() -> None:
    values: dict[str, dict[str, Path]] = {}
    for module in MODULES:
        for node in ast.parse(module.read_text()).body:
            target = node.targets[0] if isinstance(node, ast.Assign) else getattr(node, "target", None)
            if isinstance(target, ast.Name) and target.id.isupper() and not target.id.startswith("_"):
                value = getattr(node, "value", None)
                values.setdefault(target.id, {})[ast.unparse(value) if value else ""] = module.relative_to(SOURCES)
    assert {name: list(found.values()) for name, found in values.items() if len(found) > 1} == {}


@modules
def test_sql_stands_in_query_sql_and_in_adapters_only(module: Path) -> None:
    if module.relative_to(SOURCES).parts[:2] == ("query", "sql") or part_of(module) == "adapters":
        return
    texts = [node.value for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Constant)]
    found = [
        text for text in texts if isinstance(text, str) and re.search(r"\b(SELECT|INSERT INTO|ALTER TABLE)\b", text)
    ]
    assert not found


def test_unit_tests_mirror_the_sources() -> None:
    unit = {path.name for path in (ROOT / "tests" / "unit").iterdir() if path.is_dir()} - {"__pycache__"}
    assert unit <= {path.name for path in SOURCES.iterdir() if path.is_dir()}


def test_no_unit_test_sleeps() -> None:
    """They advance a clock, or wait for an event; `asyncio.sleep(0)` only lets others run."""
    sleeping = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in (ROOT / "tests" / "unit").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sleep", "time.sleep", "asyncio.sleep")
        if ast.unparse(node.args[0]) != "0"
    ]
    assert sleeping == []


def test_make_has_its_verbs_and_explains_them() -> None:
    shown = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    explained = set(re.findall(r"^  make ([a-z-]+) +\S", shown, re.MULTILINE))
    assert explained >= VERBS


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_is_pinned_with_hashes_and_no_address_is_named(lock: str) -> None:
    text = (ROOT / lock).read_text()
    for entry in re.split(r"\n(?=\S)", text.strip()):
        assert re.match(r"[a-z0-9.-]+==\S+( ; .*)? \\\n", entry), entry
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", entry), entry
    assert "://" not in text
    assert "--find-links" not in text


@pytest.mark.parametrize("lock", LOCKS)
def test_every_dependency_of_ours_is_locked_and_what_we_never_import_is_not(lock: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["embedded"], *extras["kafka"], *extras["redis"]]
    wanted += extras["dev"] if lock == "requirements-dev.lock" else []
    names = {re.split(r"[^A-Za-z0-9.-]", line)[0].replace(".", "-") for line in wanted} | {"setuptools"}
    locked = set(re.findall(r"^([a-z0-9.-]+)==", (ROOT / lock).read_text(), re.MULTILINE))
    assert names <= locked
    assert not locked & {"pandas", "pyarrow", "numpy"}


def test_both_locks_agree() -> None:
    first, second = (
        dict(re.findall(r"^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text(), re.MULTILINE)) for lock in LOCKS
    )
    assert {name: second.get(name) for name in first} == first
