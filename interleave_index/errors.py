"""The error tree. Knows nothing else of the package.

    InterleaveError
    ├── ConfigError                bad key or value in the settings
    ├── InputError (ValueError)    the caller's data cannot be used
    │   ├── ImageUnreadable        not a picture, or a damaged one
    │   ├── ImageTooLarge          more pixels than the limit
    │   ├── TextUnreadable         a text beside the photos that is damaged or too large
    │   ├── ShapeError             an array of the wrong shape or dtype
    │   └── EmptyQuery             nothing to search for
    │       (QueryError)           a query that does not parse; points at the column
    ├── RemoteError                a store that is named by a URL, such as S3, cannot be used
    ├── StorageError               the index on disk
    │   ├── IndexNotFound          no index where one was named
    │   ├── IndexBusy              another process is writing
    │   ├── SpaceMismatch          vectors of another embedding space
    │   ├── SchemaTooNew           written by a newer version
    │   ├── NotInIndex             a photo or region id that the catalog does not hold
    │   └── IndexDamaged           checks of `verify` that must not fail
    │       └── EncodingDamaged    what is stored of some photos is not what was written
    └── ModelError                 models and back ends
        ├── WeightsMissing         a weight file that is not there
        └── BackendMissing         an optional package that is not installed

Every message says what failed, what was got, what was expected and what to do.
The command line ends with status 1 on any of these, without a traceback.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

LONGEST_QUERY = 200  # characters of a query in a message
NAMED_PHOTOS = 10  # of those in a message


class InterleaveError(Exception):
    """Base of every error that this package raises on purpose.

    Attributes:
        query_number: of the query that failed, where several were asked together: its place among them from 0.
    """

    query_number: int | None = None


@contextmanager
def errors_of_query(number: int) -> Iterator[None]:
    """Errors of the block say that they are of this one of several queries, counted from 0."""
    try:
        yield
    except InterleaveError as error:
        error.query_number = number
        raise


class ConfigError(InterleaveError):
    """A setting is unknown or has a value that cannot be used."""


class InputError(InterleaveError, ValueError):
    """The caller's data cannot be used."""


class ImageUnreadable(InputError):
    """The bytes are not a picture that can be decoded."""


class ImageTooLarge(InputError):
    """The picture has more pixels than the configured limit."""


class TextUnreadable(InputError):
    """A text beside the photos is damaged, or larger than the limit."""


class ShapeError(InputError):
    """An array has the wrong shape or dtype."""


class EmptyQuery(InputError):
    """The query has no part that can be searched for."""


class QueryError(InputError):
    """The query string does not parse.

    Attributes:
        column: of the character where the trouble starts, 1 for the first, as the message says.
    """

    def __init__(self, message: str, *, query: str = "", column: int = 1) -> None:
        self.query, self.column = query, column
        super().__init__(f"{message}, at column {column}: {_around(query, column)}" if query else message)


def _around(query: str, column: int) -> str:
    """A query, or of a long one what lies around a column, between ellipses."""
    if len(query) <= LONGEST_QUERY:
        return query
    start = max(0, min(column - 1 - LONGEST_QUERY // 2, len(query) - LONGEST_QUERY))
    end = start + LONGEST_QUERY
    return f"{'…' if start else ''}{query[start:end]}{'…' if end < len(query) else ''}"


class RemoteError(InterleaveError):
    """A store that is named by a URL cannot be reached, or refuses; nothing is known of what it holds."""


class StorageError(InterleaveError):
    """The index on disk cannot be used as asked."""


class IndexNotFound(StorageError):
    """There is no index in the folder that was named."""


class IndexBusy(StorageError):
    """Another process holds the write lock of the index."""


class SpaceMismatch(StorageError):
    """Vectors of two embedding spaces were about to meet."""


class SchemaTooNew(StorageError):
    """The catalog was written by a newer version of this package."""


class NotInIndex(StorageError):
    """A photo or region id that the catalog does not hold."""


class IndexDamaged(StorageError):
    """The catalog itself fails a check and cannot be trusted."""


class EncodingDamaged(IndexDamaged):
    """What is stored of some photos is not what was written; all others can be searched.

    Attributes:
        photo_ids: of these photos, ascending.
    """

    def __init__(self, photo_ids: Iterable[int], part: str = "vectors") -> None:
        self.photo_ids = tuple(sorted(set(photo_ids)))
        named = ", ".join(map(str, self.photo_ids[:NAMED_PHOTOS])) + (
            ", …" if len(self.photo_ids) > NAMED_PHOTOS else ""
        )
        super().__init__(
            f"stored {part} of photo {named} are not those that were written: their checksum is another; "
            "`interleave-index repair --apply` has them encoded again"
        )


class ModelError(InterleaveError):
    """A model or a back end cannot be used."""


class WeightsMissing(ModelError):
    """A weight file is not where it was expected."""


class BackendMissing(ModelError):
    """An optional package is not installed."""
