"""Everything that the routes of one server share, and how it begins and ends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

from starlette.requests import Request

from ..building import build_interface
from ..config import Config
from ..grammar import Query
from ..interface.protocol import Interface
from ..records import RGB
from ..service import Index
from .archives import Downloads
from .examples import Examples, examples_of
from .gate import Gate
from .guard import Keys
from .jobs import Jobs
from .measures import Measures
from .model import SharedInterface
from .originals import Originals
from .searches import Searches
from .settings import ServeSettings
from .uploads import Upload, Uploads
from .wire import QueryBody, query_of


class State:
    """One server.

    Args:
        folder: of the index.
        config: settings in force.
        settings: of the server.
        build: makes the model; None builds the one that the settings name.
        create: make an empty index where there is none.
    """

    def __init__(
        self,
        folder: str,
        config: Config,
        settings: ServeSettings,
        *,
        build: Callable[[], Interface] | None = None,
        create: bool = False,
    ) -> None:
        self.settings, self.config = settings, config
        self.measures = Measures()
        self._examples: tuple[int, Examples] | None = None
        self.shared = SharedInterface(
            build or partial(build_interface, config), gather_seconds=settings.gather_seconds, seen=self.measures.model
        )
        model = cast(Interface, self.shared)
        try:
            self.index = Index.open(folder, config=config, interface=model, create=create)
        except BaseException:
            self.shared.close()
            raise
        place = self.index.name
        self.gate, self.downloads = Gate(settings), Downloads()
        self.originals = Originals(offline=config.models.offline)
        self.keys, self.uploads, self.searches = Keys(settings.token), Uploads(settings), Searches()
        self.jobs = Jobs(settings.roots, lambda: Index.open(place, config=config, interface=model))

    def query(self, body: QueryBody, own: dict[str, Upload] | None = None) -> Query:
        """The query that a request asks; its own pictures go before those uploaded earlier."""
        own = own or {}
        return query_of(body, self.settings, lambda name: own.get(name) or self.uploads.get(name), self.pixels)

    def pixels(self, photo_id: int) -> tuple[RGB, int, int]:
        """Pixels of an indexed photo, which may be those of its thumbnail, and the size of the whole photo."""
        photo = self.index.photo(photo_id)
        return self.index.pixels(photo), photo.width, photo.height

    def examples(self) -> Examples:
        """What a first visitor may ask; made anew when the number of photos changes."""
        photos = len(self.index.ids())
        made = self._examples
        if made is None or made[0] != photos:
            made = self._examples = photos, examples_of(self.index)
        return made[1]

    def gauge(self) -> None:
        """Bring the gauges up to date."""
        facts, gauges, job = self.index.status(), self.measures.gauges, self.jobs.last
        values = {
            "waiting": self.gate.waiting,
            "working": self.gate.working,
            "photos": facts["photos"],
            "regions": facts["regions"],
            "uploads": len(self.uploads),
            "upload_bytes": self.uploads.held_bytes,
            "ingest_running": int(job is not None and job.state == "running"),
            "ingest_done": job.done if job else 0,
            "ingest_failed": job.failures if job else 0,
        }
        for name, value in values.items():
            gauges[name].set(value)

    def close(self) -> None:
        """End jobs, the model and the index."""
        self.jobs.close()
        self.gate.close()
        self.shared.close()
        self.index.close()


def state_of(request: Request) -> State:
    """The server that a request came to."""
    found: Any = request.app.state.server
    return cast(State, found)
