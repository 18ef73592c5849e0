"""Rankings that are being paged through: no photo and no passage twice, whatever is ingested in between."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Set
from dataclasses import dataclass, field, replace

from ..errors import NotInIndex
from ..grammar import Query
from ..query.stacks import Stacks, folded
from ..records import REGIONS_PER_PHOTO, Answer, EntityHit, Filters, Hit, Region, Rle
from ..records.texts import TextHit, TextKind
from ..service import Depth, Index, Mode, Target
from .model import check_left
from .problems import Refused

HELD = 128
KEPT_SECONDS = 1800.0
AHEAD = 0.1  # share of hits beyond a page that are asked for, since some fall into stacks
MOST_HITS = 50_000  # photos and passages of all searches together, some kilobytes each
EXACT_AT_ONCE = 24  # hits of a page that the model looks at again
_NO_MASK = Rle((0, 0), "")


@dataclass(slots=True)
class Search:
    """One search and what it found so far; masks that the index keeps are left out.

    Attributes:
        name: under which further pages and exports name it.
        client: who asked.
        hits: best first, those that stand for themselves.
        stacks: photo ids that fell under a hit's photo.
        left_out: ids of photos that are no hits.
        target: what is ranked; `text_kinds` are kinds of sources of passages, none of them takes every kind.
        rerank: so many of the best photos are reranked; None as the settings say.
        asked: how many of the ranking were fetched.
        done: nothing is left.
        texts: passages, best first; `asked_texts` and `texts_done` as for photos.
    """

    name: str
    query: Query
    filters: Filters
    ground: Depth | None
    mode: Mode
    fold: bool
    left_out: Set[int]
    made: float
    client: str = ""
    target: Target = "photos"
    text_kinds: Collection[TextKind] = ()
    rerank: int | None = None
    answer: Answer | None = None
    hits: list[Hit] = field(default_factory=list)
    stacks: dict[int, list[int]] = field(default_factory=dict)
    asked: int = 0
    done: bool = False
    texts: list[TextHit] = field(default_factory=list)
    asked_texts: int = 0
    texts_done: bool = False
    _seen: set[int] = field(default_factory=set)
    _seen_texts: set[int] = field(default_factory=set)
    _stacks: Stacks = field(default_factory=Stacks)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def page(self, index: Index, start: int, count: int, most: int) -> tuple[list[Hit], dict[int, list[int]]]:
        """Hits from a position on, and what fell into stacks while they were fetched.

        Args:
            most: of the ranking; further ones are never fetched.
        """
        stacked: dict[int, list[int]] = {}
        if self.target == "texts":
            return [], stacked
        with self._lock:
            while len(self.hits) < start + count and not self.done:
                lacking = start + count - len(self.hits)
                wanted = lacking + math.ceil(AHEAD * lacking) if self.fold else lacking
                for photo_id, under in self._fetch(index, wanted, most).items():
                    stacked.setdefault(photo_id, []).extend(under)
            return self.hits[start : start + count], stacked

    def page_of_texts(self, index: Index, start: int, count: int, most: int) -> list[TextHit]:
        """Passages from a position on; none where only photos are ranked.

        Args:
            most: of the ranking; further ones are never fetched.
        """
        if self.target == "photos":
            return []
        with self._lock:
            while len(self.texts) < start + count and not self.texts_done:
                wanted = min(start + count - len(self.texts), most - self.asked_texts)
                self._take_texts(self._found(index, wanted, self.asked_texts, "texts"), wanted, most)
            return self.texts[start : start + count]

    @property
    def held(self) -> int:
        """Photos and passages that are kept."""
        return len(self.hits) + len(self.texts)

    def hit(self, photo_id: int) -> Hit:
        """The hit of this photo."""
        for hit in self.hits:
            if hit.photo.id == photo_id:
                return hit
        raise NotInIndex(f"photo {photo_id} is not among the hits of this search so far")

    def _fetch(self, index: Index, count: int, most: int) -> dict[int, list[int]]:
        count = min(count, most - self.asked, EXACT_AT_ONCE if self.ground == "exact" else most)
        target: Target = "both" if self.target == "both" and not self.asked_texts else "photos"  # one look at the query
        found = self._found(index, count, self.asked, target)
        if found.texts is not None:
            self._take_texts(found, count, most)
        self.asked += count
        self.done = len(found) < count or self.asked >= most
        fresh = [_without_masks(hit) for hit in found if hit.photo.id not in self._seen]
        self._seen.update(hit.photo.id for hit in fresh)
        shown, under = folded(fresh, self._stacks) if self.fold else (fresh, {})
        self.hits += shown
        for photo_id, ids in under.items():
            self.stacks.setdefault(photo_id, []).extend(ids)
        return under

    def _found(self, index: Index, count: int, skip: int, target: Target) -> Answer:
        """So many more of the ranking."""
        found = index.search(
            self.query,
            count,
            filters=None if self.filters == Filters() else self.filters,  # passages without any photo pass, too
            ground=self.ground,
            mode=self.mode,
            skip=skip,
            left_out=self.left_out,
            target=target,
            text_kinds=self.text_kinds,
            rerank=self.rerank,
            progress=lambda done, total: check_left(),
        )
        if self.answer is None:  # an answer without hits is false
            self.answer = replace(found, hits=(), texts=None)
        return found

    def _take_texts(self, found: Answer, count: int, most: int) -> None:
        texts = found.texts or ()
        self.asked_texts += count
        self.texts_done = len(texts) < count or self.asked_texts >= most
        fresh = [hit for hit in texts if hit.passage.id not in self._seen_texts]
        self._seen_texts.update(hit.passage.id for hit in fresh)
        self.texts += fresh


class Searches:
    """The searches that are held; when there are too many, the client with most of them loses those longest unused."""

    def __init__(self) -> None:
        self._held: OrderedDict[str, Search] = OrderedDict()
        self._lock = threading.Lock()

    def begin(
        self,
        query: Query,
        filters: Filters,
        ground: Depth | None,
        mode: Mode,
        *,
        fold: bool,
        left_out: Set[int] = frozenset(),
        client: str = "",
        target: Target = "photos",
        text_kinds: Collection[TextKind] = (),
        rerank: int | None = None,
    ) -> Search:
        """A new one, not asked yet."""
        name = secrets.token_urlsafe(12)
        made = time.monotonic()
        search = Search(name, query, filters, ground, mode, fold, left_out, made, client, target, text_kinds, rerank)
        with self._lock:
            self._held[search.name] = search
            self._trim(search)
        return search

    def sweep(self) -> None:
        """Let those go whose time is over."""
        now = time.monotonic()
        with self._lock:
            for name in [name for name, search in self._held.items() if now - search.made > KEPT_SECONDS]:
                del self._held[name]

    def get(self, name: str) -> Search:
        """One by name; Refused with 410 when it is not held any more."""
        with self._lock:
            search = self._held.get(name)
            if search is None or time.monotonic() - search.made > KEPT_SECONDS:
                self._held.pop(name, None)
                raise Refused(410, f"search {name[:40]!r} is not held any more; ask again")
            self._held.move_to_end(name)
            return search

    def _trim(self, kept: Search) -> None:
        """Keep within the limits; `kept`, which is new, stays."""
        hits: Counter[str] = Counter()
        searches: Counter[str] = Counter()
        for search in self._held.values():
            hits[search.client] += search.held
            searches[search.client] += 1
        while len(self._held) > 1 and (len(self._held) > HELD or hits.total() > MOST_HITS):
            counts = searches if len(self._held) > HELD else hits
            client = counts.most_common(1)[0][0]
            oldest = next((one for one in self._held.values() if one.client == client and one is not kept), None)
            if oldest is None:
                return
            del self._held[oldest.name]
            hits[client] -= oldest.held
            searches[client] -= 1


def with_masks(hit: Hit, index: Index) -> Hit:
    """The hit with the masks of its stored regions put back."""
    if all(region.region_id is None for entity in hit.entities for region in entity.regions):
        return hit
    stored = index.regions(hit.photo.id)

    def filled(region: Region) -> Region:
        if region.region_id is None:
            return region
        ordinal = region.region_id % REGIONS_PER_PHOTO
        return replace(region, rle=stored[ordinal].rle) if ordinal < len(stored) else region

    return _mapped(hit, lambda entity: replace(entity, regions=tuple(map(filled, entity.regions))))


def _without_masks(hit: Hit) -> Hit:
    return _mapped(
        hit,
        lambda entity: replace(
            entity,
            regions=tuple(
                region if region.region_id is None else replace(region, rle=_NO_MASK) for region in entity.regions
            ),
        ),
    )


def _mapped(hit: Hit, change: Callable[[EntityHit], EntityHit]) -> Hit:
    return replace(hit, entities=tuple(map(change, hit.entities)))
