"""docs/api.md names everything that a caller may use, and nothing that is not there."""

import dataclasses
import importlib
import inspect
import re
from pathlib import Path

import pytest

import interleave_index
from interleave_index import geometry, records
from interleave_index.interface import calibration, protocol

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text("utf-8")
RECORDS = (
    "Answer",
    "Hit",
    "Photo",
    "EntityHit",
    "Grounding",
    "Region",
    "Rle",
    "IngestReport",
    "FailedFile",
    "Filters",
    "Space",
    "PhotoEncoding",
    "QueryEncoding",
    "GroundedMask",
    "ResolvedPart",
    "Entity",
    "Picture",
    "PhotoRef",
)


def public(thing):
    return [name for name in vars(thing) if not name.startswith("_")]


def test_every_name_of_the_front_door_is_on_the_page():
    assert [n for n in interleave_index.__all__ if not n.startswith("__") and f"`{n}" not in PAGE] == []


def test_every_member_of_an_index_is_on_the_page():
    section = PAGE.split("## `Index`")[1].split("\n## ")[0]
    assert [name for name in public(interleave_index.Index) if not re.search(rf"`(Index\.)?{name}[(`]", section)] == []


@pytest.mark.parametrize("name", RECORDS)
def test_every_field_of_a_record_is_on_the_page(name):
    fields = [field.name for field in dataclasses.fields(getattr(records, name))]
    lines = [line for line in PAGE.splitlines() if re.search(rf"`{name}[(`]", line)]
    assert lines and any(all(re.search(rf"\b{field}\b", line) for field in fields) for line in lines), (name, fields)


def test_every_function_of_geometry_and_member_of_an_interface_is_on_the_page():
    functions = [name for name, thing in vars(geometry).items() if inspect.isfunction(thing) and name[0] != "_"]
    wanted = [*functions, *public(protocol.Interface), *(f.name for f in dataclasses.fields(calibration.Calibration))]
    assert [name for name in wanted if name not in PAGE] == []


def test_what_goes_in_and_out_of_an_interface_is_written_with_its_fields():
    section = PAGE.split("## Interface")[1].split("\n## ")[0]
    named = re.findall(r"`([A-Z]\w+)\(([^)`]+)\)`", section)
    assert {"Space", "Calibration", "PhotoEncoding", "QueryEncoding", "ResolvedPart"} <= {name for name, _ in named}
    for name, written in named:
        thing = getattr(records, name, None) or getattr(protocol, name)
        assert written.split(", ") == [field.name for field in dataclasses.fields(thing)], name


def test_every_function_of_the_export_that_is_on_the_page_has_these_parameters():
    section = PAGE.split("## Export")[1].split("\n## ")[0]
    named = re.findall(r"`([a-z]\w+)\.(\w+)\(([^)]*)\)`", section)
    assert len(named) > 10
    for module, name, written in named:
        thing = getattr(importlib.import_module(f"interleave_index.export.{module}"), name)
        parameters = list(inspect.signature(thing).parameters)
        assert [re.split(r"\W", p.strip())[0] for p in written.split(",") if p.strip() != "*"] == parameters, name
