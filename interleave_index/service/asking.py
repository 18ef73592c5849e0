"""Searching an index, and looking at one photo."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..building import build_interface, build_reranker, check_reranker
from ..config import Config
from ..errors import ConfigError, InputError, errors_of_query
from ..grammar import Query
from ..paths import absolute, is_url, user_path
from ..records import RGB, Answer, Filters, Hit, Photo
from ..records.texts import TextKind
from ..regular import sha256_of
from .contents import Contents
from .pictures import load_picture, stranger

if TYPE_CHECKING:
    from ..interface.protocol import Interface
    from ..query.library import OpenLibrary
    from ..query.rerank import SecondStage

Mode = Literal["auto", "exact", "ann"]
Depth = Literal["stored", "named", "exact"]
Target = Literal["photos", "texts", "both"]


class Asking(Contents):
    """Queries of words and pictures. The model is built by the first that needs it."""

    def search_through(self, library: OpenLibrary | None) -> None:
        """Let photos be searched in a library that holds their vectors elsewhere, as a cluster does; None: here."""
        self._library = library

    def search(
        self,
        query: Query | str,
        top_k: int | None = None,
        *,
        filters: Filters | None = None,
        ground: Depth | None = "stored",
        mode: Mode = "auto",
        skip: int = 0,
        exclude_self: bool = False,
        left_out: Collection[int] = (),
        target: Target = "photos",
        text_kinds: Collection[TextKind] = (),
        like: Collection[int] = (),
        unlike: Collection[int] = (),
        stacks: bool = False,
        rerank: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Answer:
        """Rank the photos of the active space for one query, the texts beside them, or both.

        Args:
            query: parts, or their string form.
            top_k: at most this many hits; None takes `config.query.top_k`.
            filters: facts that a hit must have.
            ground: `stored` ties each entity to its best stored region, `named` does so without its mask (see
                `regions`), `exact` looks at every hit again, None leaves regions out.
            mode: `exact` scores every eligible photo, `ann` candidates of FAISS, `auto` chooses.
            skip: leave out so many of the best hits, which a page before has shown; ranks count from the best.
            exclude_self: leave out the photos that the query names by `[photo:]` and `[region:]`.
            left_out: ids of further photos that are no hits.
            target: `photos`, `texts` (passages, and no photos), or `both`.
            text_kinds: kinds of sources that passages may come from; none of them takes every kind.
            like, unlike: ids of photos that are right, or wrong: the query moves towards them, or away. Wrong ones are
                no hits.
            stacks: fold photos that look the same as a better hit into its `stack`; `top_k` counts what is left.
            rerank: have so many of the best photos looked at together with the query by `config.models.reranker`, whose
                word is then their order and relevance; None takes `config.query.rerank`, 0 has none looked at.
            progress: called with photos reranked and photos to be reranked.
        Returns:
            Hits, best first, ties by photo id; empty when nothing is indexed or the filters leave nothing.
        Raises:
            QueryError, EmptyQuery, ImageUnreadable, ImageTooLarge: the query, or a picture in it.
            NotInIndex: it names a photo or region that is not there, or `like` or `unlike` does.
            SpaceMismatch: the active space was made by another model than the settings name.
            ConfigError, WeightsMissing, ModelError: photos are to be reranked, and the reranker cannot be had.
        """
        from ..query.engine import search
        from ..query.library import OneMachine
        from ..query.resolve import named_photos
        from ..query.stacks import stacked

        asked, settings = _parsed(query), self._config.query
        for photo_id in (*like, *unlike):
            self._store.photo(int(photo_id))
        second_stage = None if target == "texts" else self._second_stage(rerank, progress)

        def ask(count: int, skip: int) -> Answer:
            return search(
                self._store,
                lambda: self.interface,
                asked,
                filters=filters,
                mode=mode,
                ground=ground,
                top_k=count,
                load_picture=self.load_picture,
                settings=settings,
                cache=self._cache,
                skip=skip,
                left_out={*left_out, *named_photos(asked)} if exclude_self else left_out,
                target=target,
                text_kinds=text_kinds,
                liked=[int(photo_id) for photo_id in like],
                unliked=[int(photo_id) for photo_id in unlike],
                second_stage=second_stage,
                library=self._library or OneMachine.of,
            )

        wanted = settings.top_k if top_k is None else top_k
        answer = stacked(ask, wanted, skip) if stacks else ask(wanted, skip)
        return replace(answer, notes=(*answer.notes, *self._notes_of_the_library(answer, filters)))

    def _notes_of_the_library(self, answer: Answer, filters: Filters | None) -> list[str]:
        """What the user should know of photos that could not be hits: all are missing, or a filter knows too little."""
        notes = []
        if not answer.hits and self.ids().size == 0 and (photos := self._store.status()["photos"]):
            notes.append(_all_missing(photos))
        active = self._store.active_space()
        if filters is not None and active is not None:
            from ..query.filter_notes import filter_notes

            notes += filter_notes(self._store, active[0], filters)
        return notes

    def search_many(
        self,
        queries: Sequence[Query | str],
        top_k: int | None = None,
        *,
        filters: Filters | None = None,
        ground: Depth | None = "stored",
        mode: Mode = "auto",
    ) -> list[Answer]:
        """Rank the photos of the active space for many queries. Where all photos are scored, one pass serves several.

        Args:
            queries: parts, or their string form.
            top_k, filters, mode: as for `search`.
            ground: as for `search`, but not `exact`.
        Returns:
            For each query what `search` answers without `stacks` and without a reranker.
        Raises:
            what `search` raises, for the first query that fails, as the error's `query_number` says; nothing is
            answered then.
        """
        from ..query.engine import search_many

        parsed = []
        for number, query in enumerate(queries):
            with errors_of_query(number):
                parsed.append(_parsed(query))
        if self._library is not None:  # parts of a cluster are asked one query at a time
            return self._search_each(parsed, top_k, filters=filters, ground=ground, mode=mode, rerank=0)
        return search_many(
            self._store,
            lambda: self.interface,
            parsed,
            top_k=self._config.query.top_k if top_k is None else top_k,
            filters=filters,
            load_picture=self.load_picture,
            mode=mode,
            ground=ground,
            settings=self._config.query,
            cache=self._cache,
        )

    def _search_each(self, queries: Sequence[Query], top_k: int | None, **options: Any) -> list[Answer]:
        answers: list[Answer] = []
        for number, query in enumerate(queries):
            with errors_of_query(number):
                answers.append(self.search(query, top_k, **options))
        return answers

    def ground(self, photo: Path | str | int | RGB, query: Query | str) -> Hit:
        """Look at one photo, indexed or not, and mask what each entity of the query means in it.

        Args:
            photo: path or URL, photo id, or an upright (H, W, 3) uint8 array.
            query: parts, or their string form; plain text alone is grounded as one entity. Marks on a picture that is
                this very photo mean what lies under them.
        Returns:
            One hit of rank 1; photo id 0 when the photo is not in the index.
        Raises:
            ImageUnreadable, ImageTooLarge, NotInIndex, QueryError, EmptyQuery.
        """
        from ..query.engine import ground

        if isinstance(photo, int | np.integer):
            known = self._store.photo(int(photo))
            rgb = self.pixels(known)
        else:
            rgb = self.load_picture(photo)
            known = self._indexed(photo) or stranger(photo, rgb)
        asked = _parsed(query)
        return ground(
            self.interface,
            rgb,
            asked,
            load_picture=self.load_picture,
            photo=known,
            store=self._store,
            settings=self._config.query,
            cache=self._cache,
        )

    def _second_stage(self, count: int | None, progress: Callable[[int, int], None] | None) -> SecondStage | None:
        """What reranks so many of the best photos; None where none are to be."""
        count = self._config.query.rerank if count is None else count
        if not count:
            return None
        from ..query.rerank import RememberingReranker, SecondStage

        if not 0 < count <= 1000:
            raise InputError(f"rerank is {count}, expected 0 to 1000 photos")
        if not self._config.models.reranker:
            raise ConfigError(
                f"{count} of the best photos are to be reranked, but models.reranker names no model; "
                "name one such as Qwen/Qwen3-VL-Reranker-2B there, or by --reranker"
            )
        if self._reranker is None:
            check_reranker(self._config)  # before the first stage builds its model and searches
            self._reranker = RememberingReranker(lambda: build_reranker(self._config))
        return SecondStage(self._reranker, count, progress)

    def _indexed(self, source: Path | str | RGB) -> Photo | None:
        """The photo of the catalog that a path shows, if its content is still the one that was taken in."""
        if not isinstance(source, str | Path):
            return None
        path = absolute(user_path(source))
        known = self._store.photo_by_path(path)
        is_there = not self._config.models.offline if is_url(path) else os.path.isfile(path)
        if known is None or not is_there:
            return None
        return replace(known, path=path) if sha256_of(path) == known.sha256 else None


def ground_picture(
    photo: Path | str | RGB, query: Query | str, *, config: Config, build: Callable[[], Interface] | None = None
) -> Hit:
    """`Index.ground` for a picture where there is no index: the query cannot name indexed photos.

    Args:
        build: gives the interface, instead of the one that the settings name; called when the picture is loaded.
    """
    from ..query.engine import ground

    rgb, asked = load_picture(photo, config), _parsed(query)
    return ground(
        build_interface(config) if build is None else build(),
        rgb,
        asked,
        photo=stranger(photo, rgb),
        load_picture=lambda source: load_picture(source, config),
        settings=config.query,
    )


def check_pictures(query: Query, load_picture: Callable[[Path | str | RGB], RGB]) -> None:
    """Load the pictures of a query and their marks, for the errors of these; builds no model.

    Raises:
        ImageUnreadable, ImageTooLarge, InputError, ShapeError: one cannot be had, or does not fit its picture.
    """
    from ..query.resolve import check_pictures

    check_pictures(query, load_picture)


def _parsed(query: Query | str) -> Query:
    return Query.parse(query) if isinstance(query, str) else query


def _all_missing(photos: int) -> str:
    """Words for an index whose photos are all gone from the disk."""
    missing = "the only photo of the index is" if photos == 1 else f"all {photos} photos of the index are"
    return (
        f"{missing} missing; if the disk is not connected, connect it and ingest again; "
        "--include-missing searches what is missing as it is"
    )
