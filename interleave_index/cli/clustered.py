"""What commands share that use a cluster of Ray."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from ..service import Index
from ..wording import number_of
from . import show

if TYPE_CHECKING:
    from ..cluster.serving import ServedParts
    from ..ingest.pipeline import OpenDecoders

RayOption = Annotated[
    str | None,
    typer.Option("--ray", metavar="ADDRESS", help="Use a cluster of Ray: local, auto, or host:port of its head node."),
]


@contextmanager
def decoders_on(address: str | None, index: Index) -> Iterator[OpenDecoders | None]:
    """What decodes and encodes on a cluster; None where none was named."""
    if address is None:
        yield None
        return
    from ..cluster.ingesting import cluster_decoders
    from ..cluster.session import check_address, load_ray

    check_address(address)
    load_ray("data")
    at_a_time = min(index.interface.capabilities.photos_at_a_time, index.config.ingest.batch)
    with cluster_decoders(address, index.config, at_a_time) as open_decoders:
        yield open_decoders


@contextmanager
def parts_on(address: str, name: str, parts: int | None, replicas: int) -> Iterator[ServedParts]:
    """The parts of the library of an index, served by a cluster; says how many there are."""
    from ..cluster.serving import served_parts

    Index.open(name).close()  # what is wrong with the index is said before the cluster is asked
    with served_parts(address, name, parts=parts, replicas=replicas) as served:
        parts_words, replicas_words = number_of(served.count, "part"), number_of(replicas, "replica")
        show.note(f"{parts_words} of the library on the cluster, with {replicas_words} of each")
        yield served
