"""Three nodes of Ray on this machine, of which some are killed: nothing is lost, no answer is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'interleave-index[ray]'"),
    pytest.mark.usefixtures("postgres"),  # skipped where no server is installed
]


def test_nothing_is_lost_and_no_answer_is_wrong_while_nodes_are_killed(drawn_photos, tmp_path):
    words = ["-m", "benchmarks.cluster", str(drawn_photos.folder), "--photos", "40", "--model", "toy"]
    done = subprocess.run(
        [sys.executable, *words, "--json", str(tmp_path / "result.json")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=1800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = json.loads((tmp_path / "result.json").read_text())
    taken_in, served = found["ingest"], found["serve"]
    assert taken_in["killed_after_photos"] is not None and taken_in["failed"] == 0
    assert taken_in["difference"]["alone"] == taken_in["difference"]["unequal"] == 0
    assert served["compared"] > 30 and served["different"] == 0
    for phase in ("one_node_killed", "two_nodes_killed", "part_killed"):
        assert served[phase]["asked"] > 0
        assert served[phase]["wrong"] == served[phase]["failed"] == 0
    assert served["part_killed"]["partial"] > 0, "answers without the part say so"
