"""find-mini, the bundled model: FIND over two small towers, with proposals and query reading of its own."""

from pathlib import Path

WEIGHTS = Path(__file__).with_name("weights")  # the bundle that the package ships
