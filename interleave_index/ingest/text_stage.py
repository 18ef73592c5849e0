"""Text sources into the index, after the photos: read what is new, tie pictures to photos, encode what has no vectors.

Sources are read before anything is encoded, so that a run which is cut short loses no more than vectors, and the next
one goes on with them. What lies in a file is read in this process: sources are small, and the readers have bounds.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from ..errors import (
    BackendMissing,
    EncodingDamaged,
    InputError,
    InterleaveError,
    ModelError,
    RemoteError,
    TextUnreadable,
    WeightsMissing,
)
from ..geometry import unit
from ..interface.protocol import Interface
from ..marks import HEAD_BYTES, is_marked_page
from ..records import RGB, Floats, QueryEncoding, ResolvedPart, ResolvedQuery
from ..records.texts import PICTURE_MARK, TextKind
from ..regular import open_regular, os_words
from ..storage.store import Store
from ..storage.text_rows import REFUSED, DocumentWrite, KnownDocument, PassageVectors, PendingPassage
from .decode import load_picture
from .scan import ScannedText
from .tally import Tally
from .text.sources import MAX_BYTES, pictures_beside, read_source

SOURCES_AT_A_TIME = 64  # of one transaction
PASSAGES_AT_A_TIME = 512  # of one call of the model and one transaction
TRY_AGAIN = -1  # as time of a source that failed for a reason outside of it


PHRASES_KEPT = 100_000  # vectors of phrases that are remembered: the same ones occur in many passages

_Answer: TypeAlias = QueryEncoding | Exception | None
_Vector: TypeAlias = Floats | Exception


@dataclass(slots=True)
class TextStage:
    """One run over the text sources below some roots.

    Args:
        retry: read sources again that failed before, though they did not change.
        reread: read every source again.
    """

    store: Store
    interface: Interface
    space_id: int
    tally: Tally
    stop: threading.Event = field(default_factory=threading.Event)
    retry: bool = False
    reread: bool = False
    _moved: dict[str, str] = field(default_factory=dict)
    _gone_now: set[str] = field(default_factory=set)
    _phrases: dict[str, _Vector] = field(default_factory=dict)
    _refused: dict[int, str] = field(default_factory=dict)

    def without_forgotten(
        self, texts: Mapping[str, ScannedText], is_forgotten: Callable[[str], bool]
    ) -> dict[str, ScannedText]:
        """Text sources without the sidecars of photos that were forgotten; those are counted.

        Args:
            is_forgotten: whether the photo at a path was; a sidecar goes when all of its photos were.
        """
        kept: dict[str, ScannedText] = {}
        for path, text in texts.items():
            beside = pictures_beside(path, text.kind, text.siblings)
            if beside and all(map(is_forgotten, beside)):
                self.tally.not_read["forgotten"] += 1
            else:
                kept[path] = text
        return kept

    def all(
        self,
        texts: Mapping[str, ScannedText],
        roots: Iterable[list[str]],
        hidden: Sequence[str],
        may_be_there: Callable[[str], bool] = lambda path: False,
        known_before: Set[str] | None = None,
    ) -> None:
        """Bring the text sources of a complete listing up to date.

        Args:
            texts: those that were met, by path.
            roots: what was listed, as many at a time as one statement may name.
            hidden: folders that could not be listed.
            may_be_there: whether a source that was not met may be there all the same, in what was not looked into.
            known_before: sources that the catalog had before the listing; see `Store.mark_missing`.
        """
        known: dict[str, KnownDocument] = {}
        for some in roots:
            here = {
                path: row
                for path, row in self.store.texts.known(some).items()
                if known_before is None or path in known_before or path in texts
            }
            known |= here
            seen = {path for path in here if path in texts or (here[path].state != "missing" and may_be_there(path))}
            gone = [path for path in here if here[path].state == "present" and path not in seen]
            with self.tally.during("write"):
                self.tally.texts_missing += self.store.texts.mark_missing(some, seen, hidden, known_before)
            self._gone_now.update(gone)
        self._moved = {sha: path for sha, path in self.store.texts.missing_contents().items() if path not in texts}
        self._read([text for text in texts.values() if self._is_due(text, known.get(text.path))])
        with self.tally.during("write"):
            self.store.texts.relink()
        self.encode()

    def _is_due(self, text: ScannedText, prior: KnownDocument | None) -> bool:
        """Whether a source has to be read; an old failure is reported again."""
        self.tally.texts_seen += 1
        if prior is None or prior.state == "missing" or prior.kind != text.kind or self.reread:
            return True
        if (prior.bytes, prior.mtime_ns) != (text.bytes, text.mtime_ns):
            return True
        beside = frozenset(pictures_beside(text.path, text.kind, text.siblings))
        if beside and prior.about and beside != prior.about:  # a photo came, went, or has another suffix now
            return True
        if prior.state == "failed" and self.retry:
            return True
        if prior.state == "failed":
            self.tally.fail(text.path, prior.reason or "TextUnreadable", prior.detail or "", file=False, new=False)
        return False

    def _read(self, texts: Sequence[ScannedText]) -> None:
        for start in range(0, len(texts), SOURCES_AT_A_TIME):
            if self.stop.is_set():
                return
            with self.tally.during("read"):
                found = [self._document(text) for text in texts[start : start + SOURCES_AT_A_TIME]]
                documents = [document for document in found if document is not None]
            with self.tally.during("write"):
                self.store.texts.write(documents)
            self.tally.texts_read += sum(document.reason is None for document in documents)
            self.tally.tell("texts")

    def _document(self, text: ScannedText) -> DocumentWrite | None:
        """A source as it is now; None for a page that this program wrote."""
        sha = None
        try:
            data = _bytes_of(text.path, text.kind)
            if data is None:
                self.tally.not_read["own_outputs"] += 1
                return None
            sha = hashlib.sha256(data).hexdigest()
            source = read_source(text.path, text.kind, data, text.siblings)
            moved_from = self._moved.pop(sha, None)
            self.tally.texts_missing -= moved_from is not None and moved_from in self._gone_now
            return DocumentWrite(text.path, text.kind, sha, text.bytes, text.mtime_ns, source, moved_from=moved_from)
        except OSError as error:
            reason, detail, time = "TextUnreadable", f"file cannot be read: {os_words(error)}", TRY_AGAIN
        except RemoteError:  # nothing is known of this source, nor of any other in its store
            raise
        except InputError as error:
            reason, detail, time = type(error).__name__, str(error), text.mtime_ns
        except Exception as error:  # whatever one file does, it must not end the run
            reason, detail, time = "TextUnreadable", f"{type(error).__name__}: {error}", text.mtime_ns
        self.tally.fail(text.path, reason, detail, file=False)
        return DocumentWrite(text.path, text.kind, sha, text.bytes, time, None, reason, detail)

    # --- vectors --------------------------------------------------------------------------------

    def encode(self) -> None:
        """Give vectors to all passages that wait for them."""
        waiting = self.store.texts.waiting(self.space_id)
        self.tally.passages_total = len(waiting)
        self.tally.tell("texts")
        for start in range(0, len(waiting), PASSAGES_AT_A_TIME):
            if self.stop.is_set():
                break
            some = self.store.texts.pending(waiting[start : start + PASSAGES_AT_A_TIME].tolist())
            with self.tally.during("model"):
                made = self._vectors(some)
            with self.tally.during("write"):
                self.store.texts.write_vectors(self.space_id, self.interface.space.dim, made)
            self.tally.passages += len(made)
            self.tally.tell()
        self._report_refused(all_of_them=not self.stop.is_set())

    def _report_refused(self, all_of_them: bool) -> None:
        """Passages that the model refused are failures of their sources: new ones, or known from an earlier run."""
        with self.tally.during("write"):
            known = self.store.texts.keep_refused(self._refused, all_of_them=all_of_them)
        places = self.store.texts.passages(sorted(self._refused))
        for passage_id, words in self._refused.items():
            path = places[passage_id].path if passage_id in places else None
            place = path or f"passage {passage_id}"
            self.tally.fail(place, REFUSED, words, file=False, new=passage_id not in known)

    def _vectors(self, passages: Sequence[PendingPassage]) -> list[PassageVectors]:
        """Vectors of these passages; one that the model refuses is noted and left out."""
        pictures, passages = self._pictures(passages)
        wholes = self._encodings([passage_query(passage, pictures) for passage in passages])
        new = {phrase for passage in passages for phrase in passage.phrase_texts if phrase not in self._phrases}
        if len(self._phrases) + len(new) > PHRASES_KEPT:
            self._phrases.clear()
            new = {phrase for passage in passages for phrase in passage.phrase_texts}
        asked = sorted(new)
        self._phrases.update(zip(asked, self._phrase_vectors(asked), strict=True))
        kept: list[PassageVectors] = []
        for passage, whole in zip(passages, wholes, strict=True):
            phrases = [self._phrases[phrase] for phrase in passage.phrase_texts]
            error = next((answer for answer in (whole, *phrases) if isinstance(answer, Exception)), None)
            if error is None:
                kept.append(self._joined(passage, whole, phrases))
            else:
                self._refused[passage.id] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        return kept

    def _joined(self, passage: PendingPassage, whole: _Answer, phrases: Sequence[_Vector]) -> PassageVectors:
        dim = self.interface.space.dim
        vectors = [vector for vector in phrases if not isinstance(vector, Exception)]
        # A passage of which the model can read nothing is near to nothing.
        legend = whole.legend if isinstance(whole, QueryEncoding) else np.zeros(dim, np.float32)
        return PassageVectors(passage.id, legend, np.array(vectors, np.float32).reshape(-1, dim), passage.pictures)

    def _encodings(self, queries: Sequence[ResolvedQuery]) -> list[_Answer]:
        """Encodings in order, None for an empty query; when a batch fails, each query on its own."""
        filled = [query for query in queries if query]
        try:
            made: list[_Answer] = [_checked(encoding) for encoding in self.interface.encode_queries(filled)]
        except (WeightsMissing, BackendMissing):
            raise
        except Exception:  # a model may raise anything; one passage must not take its neighbours with it
            made = [self._alone(query) for query in filled]
        given = iter(made)
        return [next(given) if query else None for query in queries]

    def _phrase_vectors(self, phrases: Sequence[str]) -> list[_Vector]:
        """(D,) of each phrase; when a batch fails, each on its own."""
        try:
            return [*_finite(self.interface.encode_stored_phrases(phrases))] if phrases else []
        except (WeightsMissing, BackendMissing):
            raise
        except Exception as error:  # as above
            return [error] if len(phrases) == 1 else [self._phrase_vectors([phrase])[0] for phrase in phrases]

    def _alone(self, query: ResolvedQuery) -> _Answer:
        try:
            return _checked(self.interface.encode_query(query))
        except (WeightsMissing, BackendMissing):
            raise
        except Exception as error:
            return error

    def _pictures(self, passages: Sequence[PendingPassage]) -> tuple[dict[int, ResolvedPart], Sequence[PendingPassage]]:
        """The pictures among the words of some passages, by photo id, with small pixels and their stored vectors.

        Passages that show a photo whose stored vectors are damaged are left out, and wait until it is encoded again.
        """
        if not self.interface.capabilities.reads_pictures_in_text:
            return {}, passages
        passages = self._without_damaged(passages)
        wanted = sorted({photo_id for passage in passages for photo_id in passage.photo_ids if photo_id is not None})
        encoded = self.store.encoded(self.space_id)
        wanted = [photo_id for photo_id in wanted if photo_id in encoded]
        if not wanted:
            return {}, passages
        try:
            vectors = self.store.vectors(self.space_id, wanted).image
        except EncodingDamaged:  # the store knows of them from now on
            return self._pictures(passages)
        photos = self.store.photos(wanted)
        pictures = {
            photo_id: ResolvedPart(
                "entity", "picture", f"[photo:{photo_id}]", self._pixels(photos[photo_id].sha256), vector=unit(vector)
            )
            for photo_id, vector in zip(wanted, vectors, strict=True)
            if photo_id in photos
        }
        return pictures, passages

    def _without_damaged(self, passages: Sequence[PendingPassage]) -> Sequence[PendingPassage]:
        """Those that show no photo whose stored vectors are known to be damaged; others are noted."""
        damaged, kept = self.store.damaged(self.space_id), []
        for passage in passages:
            shown = damaged.intersection(filter(None, passage.photo_ids))
            if shown:
                self._refused[passage.id] = f"{EncodingDamaged.__name__}: {EncodingDamaged(shown)}"
            else:
                kept.append(passage)
        return kept

    def _pixels(self, sha256: str) -> RGB | None:
        """The thumbnail: larger than what the models look at in a picture between words."""
        try:
            return load_picture(self.store.thumbnail_path(sha256), offline=True)
        except (InterleaveError, OSError):
            return None


def _bytes_of(path: str, kind: TextKind) -> bytes | None:
    """What a source holds; None for a page that this program wrote."""
    most = MAX_BYTES[kind]
    with open_regular(path) as file:
        data = file.read(HEAD_BYTES)
        if kind == "html" and is_marked_page(data):
            return None
        data += file.read(most + 1 - len(data))
    if len(data) > most:
        raise TextUnreadable(f"text source has more than {most} bytes, expected at most that; split the file")
    return data


def _checked(encoding: QueryEncoding) -> QueryEncoding:
    _finite(encoding.legend)
    return encoding


def _finite(vectors: Floats) -> Floats:
    if not np.isfinite(vectors).all():
        raise ModelError("the model gave a vector that is not finite")
    return vectors


def passage_query(passage: PendingPassage, pictures: Mapping[int, ResolvedPart]) -> ResolvedQuery:
    """A passage as a query: its words, and its pictures in their places; without words and pictures it is empty.

    Pictures that are not among `pictures` are left out, and the words around them are one stretch.

    >>> passage = PendingPassage(1, f"a red kite {PICTURE_MARK} over the sea", (), (7,))
    >>> [(part.role, part.label) for part in passage_query(passage, {})]
    [('caption', 'a red kite over the sea')]
    """
    parts: list[ResolvedPart] = []
    shown = iter(passage.photo_ids)
    waiting = ""
    for number, piece in enumerate(passage.text.split(PICTURE_MARK)):
        photo_id = next(shown, None) if number else None
        if photo_id is not None and photo_id in pictures:
            parts += [*_caption(waiting), pictures[photo_id]]
            waiting = ""
        waiting = f"{waiting} {piece}"
    return (*parts, *_caption(waiting))


def _caption(text: str) -> list[ResolvedPart]:
    words = " ".join(text.split())
    return [ResolvedPart("caption", "text", words)] if any(map(str.isalnum, words)) else []
