"""Where the photos of the demo come from: files inside two wheels, and scenes drawn by code.

Nothing is fetched. Knows files; knows no index and no model.
"""

from __future__ import annotations

import shutil
from importlib.util import find_spec
from pathlib import Path

from ..errors import BackendMissing
from .scenes import SCENES, Sheet, harbour

# Name in demo/photos <- file in the wheel. All of them lie in the wheel itself.
FROM_SKIMAGE = {
    "astronaut.png": "astronaut.png",
    "bricks.png": "brick.png",
    "cat.png": "chelsea.png",
    "coffee.png": "coffee.png",
    "coins.png": "coins.png",
    "galaxies.jpg": "hubble_deep_field.jpg",
    "grass.png": "grass.png",
    "gravel.png": "gravel.png",
    "moon.png": "moon.png",
    "motorcycle.png": "motorcycle_left.png",
    "page.png": "page.png",
    "photographer.png": "camera.png",
    "retina.jpg": "retina.jpg",
    "rocket.jpg": "rocket.jpg",
    "tissue.png": "ihc.png",
}
FROM_SKLEARN = {"flower.jpg": "flower.jpg", "temple.jpg": "china.jpg"}
OTHER_MOTORCYCLE = "motorcycle_right.png"  # the same motorcycle from a step to the right


def write_photos(folder: Path) -> list[Path]:
    """Write the collection of the demo: photos copied from the wheels, scenes drawn.

    Args:
        folder: made if missing; files of the same name are replaced, so it must be a folder of the demo's own.
    Returns:
        The files written, by name.
    Raises:
        BackendMissing: scikit-image or scikit-learn is not installed, or lacks every one of the photos.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    wheels = ((_data("skimage", "data"), FROM_SKIMAGE), (_data("sklearn", "datasets/images"), FROM_SKLEARN))
    for inside, names in wheels:
        there = {name: inside / file for name, file in names.items() if (inside / file).is_file()}
        if not there:
            raise BackendMissing(f"{inside} holds none of the demo's photos; {_remedy()}")
        for name, file in there.items():
            shutil.copyfile(file, folder / name)
            written.append(folder / name)
    written += [_save(draw(), folder / f"{name}.jpg") for name, draw in SCENES.items()]
    return sorted(written)


def write_query_pictures(folder: Path) -> dict[str, Path]:
    """Write the pictures that the demo asks with; none of them is in the collection.

    Returns:
        ``motorcycle`` (a second photo of the one in the collection) and ``harbour`` (a drawn scene).
    Raises:
        BackendMissing: scikit-image is not installed, or lacks the photo.
    """
    folder.mkdir(parents=True, exist_ok=True)
    source = _data("skimage", "data") / OTHER_MOTORCYCLE
    if not source.is_file():
        raise BackendMissing(f"{source} is not there; {_remedy()}")
    shutil.copyfile(source, folder / "motorcycle.png")
    return {"motorcycle": folder / "motorcycle.png", "harbour": _save(harbour(), folder / "harbour.jpg")}


def _save(sheet: Sheet, path: Path) -> Path:
    from PIL import Image

    Image.fromarray(sheet.pixels()).save(path, format="JPEG", quality=90)
    return path


def _data(package: str, below: str) -> Path:
    """Folder of data inside an installed package, which is not imported."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        name = {"skimage": "scikit-image", "sklearn": "scikit-learn"}[package]
        raise BackendMissing(f"the demo takes its photos from {name}, which is not installed; {_remedy()}")
    return Path(next(iter(spec.submodule_search_locations))) / below


def _remedy() -> str:
    return "install the demo's extra: pip install 'interleave-index[demo]'"
