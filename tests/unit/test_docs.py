"""The documents keep step: links lead somewhere, named functions exist, generated pages are fresh, the way is whole."""

import ast
import re
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
from click.testing import CliRunner

from parsec.cli import main

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "src" / "parsec"
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "bench/**/*.md", "deploy/**/*.md")
    for page in ROOT.glob(pattern)
    if not any(part.startswith(".") for part in page.relative_to(ROOT).parts)
)
WAY = (
    "parsec.web.routes.ingest",
    "parsec.ingest.pipeline",
    "parsec.ingest.body.decode",
    "parsec.ingest.normalize",
    "parsec.ingest.channel",
    "parsec.ingest.worker",
    "parsec.ports.broker",
    "parsec.process.loop",
    "parsec.process.range_commit",
    "parsec.ports.dedup",
    "parsec.ports.store",
    "parsec.query",
)

_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_CODE_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+\.py)\)((?:,? (?:and )?`[A-Za-z_][A-Za-z0-9_.]*`)+)")
_FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
_CHAIN_ITEM = re.compile(r"^\d+\. (.*(?:\n   .*)*)", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


@cache
def prose(page: Path) -> str:
    """A page without its code blocks."""
    return _FENCE.sub("", page.read_text())


@cache
def names_in(path: Path) -> frozenset[str]:
    """Functions, classes, `Class.method`s and module-level constants of a Python file."""
    names: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            members = [one for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)]
            names |= {node.name} | {f"{node.name}.{one.name}" for one in members}
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return frozenset(names)


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pages
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target in _LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        if not found.exists() or (anchor and anchor not in anchors(found)):
            broken.append(target)
    assert broken == []


@pages
def test_every_function_named_after_a_link_to_its_file_exists(page: Path) -> None:
    missing = [
        f"{target}: {name}"
        for target, names in _CODE_LINK.findall(prose(page))
        for name in re.findall(r"`([^`]+)`", names)
        if not (page.parent / target).exists() or name not in names_in((page.parent / target).resolve())
    ]
    assert missing == []


@pages
def test_every_command_named_exists(page: Path) -> None:
    text = page.read_text()
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)", text)) <= verbs
    assert set(re.findall(r"`parsec ([a-z-]+)", text)) <= set(main.commands)


@pytest.mark.parametrize(
    ("topic", "page"),
    [("settings", "docs/settings.md"), ("metrics", "docs/metrics.md"), ("openapi", "openapi.yaml"),
     ("api", "docs/api.md")],
)  # fmt: skip
def test_generated_pages_are_what_the_code_says(topic: str, page: str) -> None:
    text = (ROOT / page).read_text()
    assert text == CliRunner().invoke(main, ["reference", topic], input=text).stdout, "run make docs"


@pytest.mark.parametrize(("here", "there"), list(pairwise(WAY)))
def test_each_module_on_the_way_names_the_next(here: str, there: str) -> None:
    path = SOURCES.joinpath(*here.split(".")[1:]).with_suffix(".py")
    text = " ".join((ast.get_docstring(ast.parse(path.read_text())) or "").split())
    assert re.findall(r"Next: (parsec[\w.]*\w)", text)[:1] == [there]


def test_the_way_of_an_event_is_told_in_order_with_a_file_and_a_name_each() -> None:
    page = ROOT / "docs" / "life-of-an-event.md"
    items = _CHAIN_ITEM.findall(page.read_text())
    told = []
    for item in items:
        target = _LINK.search(item)
        assert target, f"no link in: {item}"
        path = (page.parent / target[1]).resolve()
        assert path.exists(), f"no such file: {path}"
        assert path.is_dir() or _CODE_LINK.search(item), f"no function named in: {item}"
        told.append(".".join(path.relative_to(SOURCES.parent).with_suffix("").parts))
    assert [module for module in told if module in WAY] == list(WAY)


@pytest.mark.parametrize("result", sorted((ROOT / "bench" / "results").iterdir()), ids=lambda path: path.name)
def test_each_result_is_named_where_figures_are_told(result: Path) -> None:
    assert f"bench/results/{result.name}" in (ROOT / "docs" / "performance.md").read_text()


def test_each_result_that_is_named_is_there() -> None:
    told = (ROOT / "docs" / "performance.md").read_text()
    named = set(re.findall(r"bench/results/([-\w]+\.json)", told))
    assert named
    assert all((ROOT / "bench" / "results" / name).exists() for name in named)
