"""Ctrl-C while the program itself is still loading."""

from __future__ import annotations

import subprocess
import sys

STOPPED_AT_AN_IMPORT = """
import os, signal, sys
import interleave_index.cli

assert "numpy" not in sys.modules, "loaded before anybody can stop it"

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored by what a shell runs in the background
sys.meta_path.insert(0, Interrupts())
interleave_index.cli.main(["status"])
"""


def test_ctrl_c_while_the_program_loads_leaves_with_130_and_no_traceback():
    for module in ("typer", "numpy", "rich.text"):
        words = [sys.executable, "-c", STOPPED_AT_AN_IMPORT.format(module=module)]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n"), module
