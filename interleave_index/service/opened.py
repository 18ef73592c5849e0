"""An index that is open: its folder, its settings, and the model that they name, built on first use."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ..building import build_interface, expand_set
from ..config import Config, kept_config
from ..paths import user_path

if TYPE_CHECKING:
    from ..interface.protocol import Interface
    from ..query.library import OpenLibrary
    from ..query.pixels import PixelCache
    from ..query.rerank import RememberingReranker
    from ..storage.store import Store


class OpenIndex:
    """The store of an index and the settings in force; what can be asked of it stands in the classes that follow."""

    def __init__(self, store: Store, config: Config, interface: Interface | None = None) -> None:
        self._store, self._config, self._interface = store, config, interface
        self._pixels: PixelCache | None = None
        self._library: OpenLibrary | None = None
        self._reranker: RememberingReranker | None = None

    @classmethod
    def open(
        cls, path: Path | str, *, config: Config | None = None, interface: Interface | None = None, create: bool = False
    ) -> Self:
        """Open the index in a folder, or in a database.

        Args:
            path: the folder; made with `create` when there is none. Or ``postgresql+psycopg://`` with user, host and
                database, ending with ``?folder=`` and the folder of FAISS files and thumbnails.
            config: settings in force; None takes those that the index keeps, else the defaults.
            interface: used instead of the one that the settings name.
            create: make an empty index when there is none.
        Raises:
            IndexNotFound: there is no index at `path` and `create` is False.
            IndexDamaged, SchemaTooNew: it cannot be read.
            StorageError: its database cannot be reached.
            ConfigError: the settings that it keeps do not parse, or the URL cannot be used.

        >>> from tempfile import TemporaryDirectory
        >>> from interleave_index import Index
        >>> with TemporaryDirectory() as folder, Index.open(folder, create=True) as index:
        ...     index.status()["photos"]
        0
        """
        from ..storage.store import Store

        store = Store.open(user_path(path), create=create)
        try:
            return cls(store, expand_set(config or kept_config(store.folder) or Config()), interface)
        except BaseException:
            store.close()
            raise

    def close(self) -> None:
        """Give back files and connections; a closed index answers nothing more."""
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where the index lies; of one in a database, where its FAISS files and thumbnails lie on this machine."""
        return self._store.folder

    @property
    def name(self) -> str:
        """What opens the same index again: its folder, or the URL of its database, with the password that it has."""
        return self._store.name

    def database(self) -> str:
        """Name and version of the catalog's database, and where it is, in words; nothing of it is secret."""
        return self._store.database()

    @property
    def config(self) -> Config:
        """The settings in force."""
        return self._config

    @property
    def interface(self) -> Interface:
        """The model that the settings name, built on first use.

        Raises:
            WeightsMissing, BackendMissing: it cannot be built.
        """
        if self._interface is None:
            self._interface = build_interface(self._config)
        return self._interface
