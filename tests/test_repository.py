"""Rules that hold for the whole repository: imports, public names, packaging, documentation."""

from __future__ import annotations

import ast
import graphlib
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import interleave_index
from interleave_index import errors

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "interleave_index"
SOURCES = sorted(path for path in PACKAGE.rglob("*.py"))
HEAVY = ("torch", "faiss", "sqlalchemy", "alembic", "scipy", "PIL", "transformers")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=False)


def tracked(*patterns: str) -> list[str]:
    listed = run("git", "ls-files", "-z", "--", *patterns)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()]


# --- imports ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "import interleave_index",
        "import interleave_index.cli.app",
        "import interleave_index.service",
        "from interleave_index import Index, Query",
    ],
)
def test_importing_the_front_door_and_the_commands_loads_nothing_heavy(statement):
    result = run(sys.executable, "-c", f"import sys; {statement}; print([m for m in {HEAVY} if m in sys.modules])")
    assert result.stdout.strip() == "[]", result.stdout + result.stderr


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom interleave_index.cli import main\ntry:\n    main(['search', '--help'])\n"
        f"except SystemExit as end:\n    print([m for m in {HEAVY} if m in sys.modules], end.code)"
    )
    result = run(sys.executable, "-c", code)
    assert result.stdout.strip().endswith("[] 0"), result.stdout + result.stderr


def test_a_search_without_a_network_loads_no_torch(_ingested, tmp_path):
    folder = shutil.copytree(_ingested, tmp_path / "photos.index")
    code = (
        "import sys\nfrom interleave_index.cli import main\ntry:\n"
        f"    main(['search', '[red]', '--paths', '--index', {str(folder)!r}])\n"
        "except SystemExit as end:\n    print('torch' in sys.modules, end.code)"
    )
    result = run(sys.executable, "-c", code)
    assert result.stdout.strip().endswith("False 0"), result.stdout + result.stderr


def test_imports_go_only_down_the_layers():
    lint = Path(sys.executable).with_name("lint-imports")
    if not lint.exists():
        pytest.skip("import-linter is not installed")
    result = run(str(lint), "--no-cache")
    assert result.returncode == 0, result.stdout


def test_no_modules_import_each_other_in_a_circle():
    modules = {module_name(path): path for path in SOURCES}
    imports = {name: imported_modules(name, path, modules) for name, path in modules.items()}
    try:
        graphlib.TopologicalSorter(imports).prepare()
        circle: list[str] = []
    except graphlib.CycleError as error:
        circle = error.args[1]
    assert circle == []


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported_modules(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of the package that importing this one imports, but for its own parents."""
    package = name.split(".") if path.name == "__init__.py" else name.split(".")[:-1]
    imported = set()
    for node in run_at_import(ast.parse(path.read_text(encoding="utf-8")).body):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1] + (node.module.split(".") if node.module else [])
            source = ".".join(base)
            for alias in node.names:
                submodule = f"{source}.{alias.name}"
                imported.add(submodule if submodule in modules else source)
    return imported - {name}


def run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements outside of functions and of `if TYPE_CHECKING`."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from run_at_import(node.orelse)
            continue
        yield node
        for field in ("body", "orelse", "finalbody"):
            yield from run_at_import(getattr(node, field, []))
        for handler in getattr(node, "handlers", []):
            yield from run_at_import(handler.body)


def test_inside_the_package_imports_are_relative():
    absolute = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (
            isinstance(node, ast.ImportFrom)
            and not node.level
            and (node.module or "").split(".")[0] == "interleave_index"
        )
        or (
            isinstance(node, ast.Import) and any(alias.name.split(".")[0] == "interleave_index" for alias in node.names)
        )
    ]
    assert absolute == []


# --- the front door --------------------------------------------------------------------------


def test_all_names_of_the_front_door_are_listed_sorted_and_there():
    listed = interleave_index.__all__
    assert listed == sorted(listed)
    for name in listed:
        assert hasattr(interleave_index, name), name
    public = {
        name
        for name, value in vars(interleave_index).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("interleave_index")
    }
    assert public <= set(listed)


def test_the_promised_names_can_be_imported_from_the_front_door():
    wanted = {"Index", "Query", "Picture", "Entity", "Not", "PhotoRef", "RegionRef", "Hit"}
    assert wanted <= set(interleave_index.__all__)


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == interleave_index.__version__


# --- shape of the code -----------------------------------------------------------------------


def test_every_module_has_a_docstring():
    without = [
        str(path.relative_to(ROOT))
        for path in SOURCES
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert without == []


def test_every_direct_dependency_that_setup_installs_is_pinned():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["cpu"], *extras["hub"], *extras["demo"], *extras["dev"], *extras["web"]]
    names = {re.split(r"[\[<>=~!;\s]", line)[0].lower().replace("_", "-") for line in wanted}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line}
    assert names <= pinned


# --- the tree of files ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ingest", "query", "storage"])
def test_root_folders_are_relative_links_into_the_package(name):
    link = ROOT / name
    if not link.is_symlink():
        pytest.skip("this checkout has no links")
    assert os.readlink(link) == f"interleave_index/{name}"


def test_the_tree_in_the_readme_names_every_package_and_nothing_that_is_not_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    packages = [path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()]
    modules = [path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    for name in [*(f"{package}/" for package in packages), *modules]:
        assert re.search(rf"^\W*{re.escape(name)}", text, re.M), f"README's tree lacks {name}"
    tree = next(block for block in re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S) if "interleave_index/" in block)
    block = tree[tree.index("interleave_index/") :].splitlines()[1:]
    for line in block:
        named = re.match(r"(?:\s+|[│├└─ ]+)([\w.]+(?:/|\.py))\s", line)
        if named and line.startswith((" ", "│", "├", "└")):
            assert (PACKAGE / named[1]).exists() or (ROOT / named[1]).exists(), f"README's tree names {named[1]}"


def test_the_wheel_holds_what_git_holds_of_the_package(built_wheel):
    with zipfile.ZipFile(built_wheel) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == set(tracked("interleave_index"))


# --- documentation ---------------------------------------------------------------------------


def documentation() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").rglob("*.md")))


def test_every_command_and_every_option_of_it_is_documented():
    import typer.main

    from interleave_index.cli.app import app

    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    program = typer.main.get_command(app)
    for name, command in program.commands.items():  # type: ignore[attr-defined]
        section = re.search(rf"^## `{name}`.*?(?=^## |\Z)", text, re.M | re.S)
        assert section, f"docs/cli.md has no section on {name}"
        assert command.help, f"{name} has no help"
        for subcommand in getattr(command, "commands", {"": command}).values():
            for option in (flag for parameter in subcommand.params for flag in parameter.opts if flag.startswith("--")):
                assert option in section[0] or option in SHARED, f"docs/cli.md: {name} lacks {option}"


SHARED = {"--index", "--config", "--json", "--help"}  # described once for all commands


def test_every_error_is_documented_and_in_the_tree_of_its_module():
    text = documentation()
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.InterleaveError):
            assert f"`{name}`" in text, f"no page of docs/ names {name}"
            assert name in (errors.__doc__ or ""), f"the tree in errors.py lacks {name}"
            assert kind.__doc__


def test_every_setting_is_documented_with_its_default():
    from interleave_index.config import Config

    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    settings: dict[str, object] = {}
    for section, value in Config().to_mapping().items():
        if isinstance(value, dict):
            settings |= {f"{section}.{key}": default for key, default in value.items()}
        else:
            settings[section] = value
    for name, default in settings.items():
        if default == "":
            shown = "empty"
        else:
            shown = f"`{default}`" if isinstance(default, str) else f"`{json.dumps(default)}`"
        assert f"| `{name}` | {shown} |" in text, f"docs/config.md lacks {name} with the default {shown}"


def test_every_module_of_the_package_can_be_imported():
    for path in SOURCES:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        if not module.endswith(("__main__", ".env")) and ".versions." not in module:
            assert importlib.import_module(module).__doc__, module
