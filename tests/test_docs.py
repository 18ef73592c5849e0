"""What the pages link to and name exists, and the steps in docs/architecture.md are those of the code."""

from __future__ import annotations

import ast
import importlib
import re
import sys
import threading
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from tokenize import COMMENT
from tokenize import generate_tokens as tokenize_source
from types import CodeType, FrameType
from typing import Any

import numpy as np
import pytest

from interleave_index import Index, Query
from interleave_index.config import Config
from interleave_index.ingest import model_thread
from interleave_index.interface.registry import load
from interleave_index.interface.toy import ToyInterface
from interleave_index.records import ResolvedPart

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "interleave_index"
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "docs").rglob("*.md"))
PARTS = sorted(
    path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
)  # modules and packages of the first level
NAME = re.compile(rf"`((?:{'|'.join(PARTS)})(?:\.\w+)+)(?:\(\))?`")
FILE_ENDINGS = (".py", ".md", ".json", ".yaml", ".toml", ".sqlite")
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second and third rank."""
    parts = re.split(r"^###? (.+)$", page, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def names(text: str) -> list[str]:
    """Every `package.module.name` in backticks, in order."""
    return [name for name in NAME.findall(text) if not name.endswith(FILE_ENDINGS)]


def resolve(name: str) -> Any:
    """What a dotted name below the package means."""
    words = name.split(".")
    for split in range(len(words), 0, -1):
        try:
            value = importlib.import_module(".".join(["interleave_index", *words[:split]]))
        except ModuleNotFoundError:
            continue
        for word in words[split:]:
            value = getattr(value, word)
        return value
    raise AttributeError(f"there is no {name}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    local = [target for target in targets if "://" not in target and not target.startswith("mailto:")]
    assert [target for target in local if not (page.parent / target).exists()] == []


def test_every_page_can_be_reached_from_the_readme():
    reached: set[Path] = set()
    waiting = [ROOT / "README.md"]
    while waiting:
        page = waiting.pop()
        if page in reached:
            continue
        reached.add(page)
        links = re.findall(r"\]\(([^)#\s]+\.md)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
        waiting += [(page.parent / link).resolve() for link in links if "://" not in link]
    assert [str(page.relative_to(ROOT)) for page in PAGES if page.resolve() not in reached] == []


def test_every_name_of_the_code_that_the_architecture_gives_exists():
    assert len(names(ARCHITECTURE)) > 40
    for name in names(ARCHITECTURE):
        assert resolve(name) is not None, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_imports_in_its_python_exists(page):
    for block in re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.M | re.S):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("interleave_index"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_sections_of_the_find_page_that_code_cites_exist():
    page = (ROOT / "docs" / "find-interface.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^##+ (\d+(?:\.\d+)?)\.? ", page, re.M))
    cited = {
        section
        for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "docs").rglob("*.md")]
        for section in re.findall(r"find-interface\.md, sections? (\d+(?:\.\d)?)", path.read_text(encoding="utf-8"))
    }
    assert cited <= headings


def cited_pages(source: str) -> list[str]:
    """Pages that Python code names: ``docs/...`` anywhere, a bare name in comments and docstrings.

    Other strings may name a page of their own, such as one that a test writes.
    """
    prose = [token.string for token in tokenize_source(StringIO(source).readline) if token.type == COMMENT]
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    prose += [ast.get_docstring(node) or "" for node in ast.walk(ast.parse(source)) if isinstance(node, documented)]
    bare = [page for text in prose for page in re.findall(r"(?<![\w/.])(?:docs/)?[a-z-]+\.md\b", text)]
    return bare + re.findall(r"(?<![\w/.])docs/[a-z-]+\.md\b", source)


def test_no_code_cites_a_page_that_is_not_there():
    for path in [*PACKAGE.rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        for page in cited_pages(path.read_text(encoding="utf-8")):
            assert (ROOT / page).is_file() or (ROOT / "docs" / page).is_file(), f"{path.relative_to(ROOT)} cites {page}"


def test_pages_are_found_in_comments_docstrings_and_by_their_folder_alone():
    code = '''"""See one.md."""\nx = "two.md"  # three.md\ny = "docs/cli.md"\ndef f():\n    """And five.md."""\n'''
    assert cited_pages(code) == ["three.md", "one.md", "five.md", "docs/cli.md"]


# --- the steps --------------------------------------------------------------------------------


def called_by(work: Callable[[], object]) -> list[CodeType]:
    """The code of every function that `work` calls here, in threads it starts and in the model's, which may be there
    already, in the order of their first calls.
    """
    seen: dict[CodeType, None] = {}

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call":
            seen.setdefault(frame.f_code)

    before = sys.getprofile()
    sys.setprofile(note)
    threading.setprofile(note)
    model_thread.submit(sys.setprofile, note).result()
    try:
        work()
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
        model_thread.submit(sys.setprofile, None).result()
    return list(seen)


def assert_walk(section: str, calls: list[CodeType]) -> None:
    """The function that each numbered step of a section names first was called, in the order of the steps."""
    steps = re.split(r"^\d+\. ", section, flags=re.M)[1:]
    first = [names(step)[0].replace("interface.protocol.Interface.", "interface.toy.ToyInterface.") for step in steps]
    codes = {name: resolve(name).__code__ for name in first}
    assert len(first) >= 4
    assert [name for name in first if codes[name] not in calls] == []
    assert first == sorted(first, key=lambda name: calls.index(codes[name]))


@pytest.fixture
def index(tmp_path: Path):
    config = Config().with_flags(ingest_workers=0)
    with Index.open(tmp_path / "photos.index", config=config, interface=ToyInterface(), create=True) as opened:
        yield opened


def test_the_way_of_a_photo_is_the_one_that_the_architecture_describes(index, drawn_photos):
    calls = called_by(lambda: index.ingest(drawn_photos.folder))
    assert_walk(sections(ARCHITECTURE)["The way of a photo"], calls)


def test_the_way_of_a_query_is_the_one_that_the_architecture_describes(toy_index):
    calls = called_by(lambda: toy_index.search(Query.parse("[red disc] -[blue square]"), mode="ann"))
    assert_walk(sections(ARCHITECTURE)["The way of a query"], calls)


def test_the_way_of_an_exact_mask_is_the_one_that_the_architecture_describes(toy_index, drawn_photos):
    calls = called_by(lambda: toy_index.ground(drawn_photos.red_disc.path, "[red disc]"))
    assert_walk(sections(ARCHITECTURE)["The way of an exact mask"], calls)


@pytest.fixture(scope="module")
def find_mini():
    return load("find-mini", device="cpu")


@pytest.fixture
def mixed_query(drawn_photos) -> tuple[ResolvedPart, ...]:
    """Words, an entity of text and a part of a picture."""
    photo = drawn_photos.red_disc.rgb
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:80, 30:90] = True
    part = ResolvedPart("entity", "region", "part", photo=photo, mask=mask)
    return ResolvedPart("entity", "text", "a dog"), ResolvedPart("caption", "text", "near"), part


def test_a_photo_goes_through_find_mini_as_the_architecture_describes(find_mini, drawn_photos):
    calls = called_by(lambda: find_mini.encode_photos([drawn_photos.red_disc.rgb]))
    assert_walk(sections(ARCHITECTURE)["A photo"], calls)


def test_a_query_goes_through_find_mini_as_the_architecture_describes(find_mini, mixed_query):
    calls = called_by(lambda: find_mini.encode_query(mixed_query))
    assert_walk(sections(ARCHITECTURE)["A query"], calls)


def test_an_exact_mask_is_made_by_find_mini_as_the_architecture_describes(find_mini, mixed_query, drawn_photos):
    calls = called_by(lambda: find_mini.ground(drawn_photos.red_disc.rgb, mixed_query))
    assert_walk(sections(ARCHITECTURE)["An exact mask"], calls)
