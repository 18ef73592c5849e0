"""Decoding and encoding as stages of Ray Data, in the place of the decode processes of one machine. Knows Ray, no SQL.

Listing, the plan of what each file needs, and the transactions stay where the catalog is written: in the process that
was started. From there files go, by path, to tasks that decode them on any machine, then to actors that hold the model;
back come facts, encodings and thumbnails, never pixels. So a photo is in the catalog as a whole or not at all,
whatever machine is lost: what was under way there is decoded and encoded again by another, as Ray Data does by itself,
and what comes twice is taken once. How much waits between stages is bounded by Ray Data, and the last stage by a queue.
"""

from __future__ import annotations

import os
import pickle
import queue
import socket
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..building import build_interface
from ..config import Config
from ..errors import ModelError, StorageError
from ..ingest.decode_pool import Outcome
from ..ingest.decode_task import Recipe, Reply, Task, work
from ..ingest.encode import encode
from ..ingest.thumbnail import thumbnail_file
from ..records import RGB, PhotoEncoding
from ..whole_files import replaced
from .session import connected

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ..interface.protocol import Interface

    Rows = dict[str, NDArray[np.object_]]

FILES_A_BLOCK = 8  # that one task decodes: what a lost machine has to do again
BLOCK_BYTES = 32 << 20  # of decoded pictures that go to the model together
DECODE_BYTES = 512 << 20  # of memory for one decoding task: the largest pictures take about that
MOST_BLOCKS = 4096
UNBOUNDED = 1 << 30  # paths wait here, not pictures
COLUMN = "row"


@dataclass(frozen=True, slots=True)
class Stages:
    """How the stages share the machines of a cluster.

    Attributes:
        models: actors that hold the model at most.
        model_cpus, model_gpus: of each of them.
        decode_cpus: of each decoding task.
    """

    models: int
    model_cpus: float
    model_gpus: float
    decode_cpus: float

    @staticmethod
    def of(cpus: list[float], gpus: float) -> Stages:
        """For machines with so many processors each: one model a machine, on half of it, or one a GPU.

        >>> Stages.of([16.0, 16.0], 0)
        Stages(models=2, model_cpus=8.0, model_gpus=0, decode_cpus=1.0)
        >>> Stages.of([1.0, 1.0, 1.0], 0)
        Stages(models=3, model_cpus=0.5, model_gpus=0, decode_cpus=0.5)
        """
        fewest = min((count for count in cpus if count), default=1.0)
        decode_cpus = 1.0 if fewest >= 2 else fewest / 2
        if gpus:
            return Stages(int(gpus), decode_cpus, 1, decode_cpus)
        return Stages(
            max(1, sum(count > 0 for count in cpus)), max(fewest // 2, fewest / 2 if fewest < 2 else 1), 0, decode_cpus
        )


def decode_row(row: dict[str, bytes], recipe: Recipe) -> dict[str, bytes]:
    """Decode one file, on any machine: a task becomes its reply, pixels, and thumbnail as bytes."""
    task: Task = pickle.loads(row[COLUMN])
    with tempfile.TemporaryDirectory(prefix="interleave-") as folder:
        reply, rgb = work(task, replace(recipe, thumbnails=folder))
        small = b""
        if reply.sha256 is not None:
            with suppress(OSError):  # a thumbnail that is not there is made again when it is wanted
                small = thumbnail_file(folder, reply.sha256).read_bytes()
    if reply.gone:
        reply = replace(reply, reason="ImageUnreadable", detail=f"not there on {socket.gethostname()}")
    return {COLUMN: pickle.dumps((task, reply, rgb, small))}


class Encoder:
    """The model in an actor: pictures become encodings.

    Args:
        config: names the model.
    """

    def __init__(self, config: Config) -> None:
        self._interface: Interface = build_interface(config)

    def __call__(self, batch: Rows) -> dict[str, list[bytes]]:
        """Encode the pictures of a batch; what has no pixels passes through."""
        rows = [pickle.loads(row) for row in batch[COLUMN]]
        wanted = [
            number for number, (_, reply, rgb, _) in enumerate(rows) if rgb is not None and reply.facts is not None
        ]
        photos: list[RGB] = [rows[number][2] for number in wanted]
        encoded = dict(zip(wanted, encode(self._interface, photos), strict=True))
        found = [
            (task, reply, small, _portable(encoded.get(number))) for number, (task, reply, _, small) in enumerate(rows)
        ]
        return {COLUMN: [pickle.dumps(one) for one in found]}


def _portable(encoded: PhotoEncoding | Exception | None) -> PhotoEncoding | Exception | None:
    """The same, without an exception that cannot travel."""
    if isinstance(encoded, Exception) and not type(encoded).__module__.startswith("builtins"):
        return ModelError(f"{type(encoded).__name__}: {encoded}")
    return encoded


class RayDecoders:
    """Decodes and encodes on a cluster; see `ingest.decode_pool.Decoders`.

    Args:
        ray: connected.
        recipe: what every file is put through.
        config: names the model.
        model_batch: pictures that the model is given at a time.
        stages: how they share the machines; None as the cluster is now.
    """

    def __init__(
        self, ray: Any, recipe: Recipe, config: Config, model_batch: int, stages: Stages | None = None
    ) -> None:
        self._ray, self._recipe, self._config, self._batch = ray, recipe, config, model_batch
        self._stages = stages or _stages_of(ray)
        self._tasks: deque[Task] = deque()
        self._open: dict[int, Task] = {}  # by number, what was given and not answered
        self._answers: queue.Queue[Any] = queue.Queue(4 * model_batch)
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def free_slots(self) -> int:
        """As many as wanted: only paths wait on this side."""
        return UNBOUNDED

    @property
    def outstanding(self) -> int:
        """Tasks given and not yet answered."""
        return len(self._open)

    def submit(self, task: Task) -> None:
        """Give one task; it is begun with the others that are given until the next answer is asked for."""
        self._tasks.append(task)
        self._open[task.number] = task

    def next(self, timeout: float) -> Outcome | None:
        """The next answer in the order of completion, or None when there is none in time.

        Raises:
            ModelError: the model cannot be used on a machine of the cluster.
            StorageError: the cluster is gone.
        """
        if self._thread is None and self._tasks:
            tasks, self._tasks = list(self._tasks), deque()
            self._thread = threading.Thread(target=self._run, args=(tasks,), name="ray data", daemon=True)
            self._thread.start()
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            return None
        if answer is None:  # all that was begun is done
            self._thread = None
            waiting = {task.number for task in self._tasks}
            self._again([task for number, task in self._open.items() if number not in waiting])
            return None
        if isinstance(answer, Exception):
            raise answer
        return self._outcome(*answer)

    def release(self, outcome: Outcome) -> None:
        """Nothing is held."""
        outcome.encoded = None

    def close(self) -> None:
        """Drop what is outstanding and end the stages."""
        self._closing.set()
        while self._thread is not None and self._thread.is_alive():
            with suppress(queue.Empty):
                self._answers.get(timeout=0.1)
        self._open.clear()

    def _again(self, tasks: list[Task]) -> None:
        """Begin tasks once more that the cluster did not answer, each once."""
        for task in tasks:
            if task.tries:
                raise StorageError(f"the cluster gave no answer for {task.path}, twice; run the command again")
            self.submit(replace(task, tries=task.tries + 1))

    def _outcome(
        self, task: Task, reply: Reply, small: bytes, encoded: PhotoEncoding | Exception | None
    ) -> Outcome | None:
        if task.number not in self._open:  # it was done twice, since a machine was lost
            return None
        del self._open[task.number]
        if reply.gone and os.path.lexists(task.path):  # that machine does not see it: it is not gone
            reply = replace(reply, gone=False)
        elif reply.gone:
            reply = replace(reply, reason=None, detail=None)
        if small and reply.sha256 is not None:
            with suppress(OSError):
                file = thumbnail_file(self._recipe.thumbnails, reply.sha256)
                file.parent.mkdir(parents=True, exist_ok=True)
                with replaced(file) as draft:
                    draft.write_bytes(small)
        return Outcome(task, reply, None, -1, encoded)

    def _run(self, tasks: list[Task]) -> None:
        """Put tasks through the stages; in a thread of its own, which waits where nobody takes answers."""
        try:
            for row in self._dataset(tasks).iter_rows():
                if self._closing.is_set():
                    break
                self._put(pickle.loads(row[COLUMN]))
        except Exception as error:  # of Ray, and of a model that cannot be built there
            self._put(_in_words(error))
        self._put(None)

    def _put(self, answer: object) -> None:
        while not self._closing.is_set():
            with suppress(queue.Full):
                self._answers.put(answer, timeout=0.2)
                return

    def _dataset(self, tasks: list[Task]) -> Any:
        data, stages = self._ray.data, self._stages
        context = data.DataContext.get_current()
        context.target_max_block_size = BLOCK_BYTES
        context.enable_progress_bars = context.print_on_execution_start = False
        blocks = min(MOST_BLOCKS, -(-len(tasks) // FILES_A_BLOCK))
        listed = data.from_items([{COLUMN: pickle.dumps(task)} for task in tasks], override_num_blocks=blocks)
        # What asks for other resources than the next stage is not joined with it: decoding needs no model, and goes on
        # while that works.
        decode = partial(decode_row, recipe=self._recipe)
        decoded = listed.map(decode, num_cpus=stages.decode_cpus, memory=DECODE_BYTES)
        return decoded.map_batches(
            Encoder,
            fn_constructor_args=(self._config,),
            batch_size=self._batch,
            batch_format="numpy",
            compute=data.ActorPoolStrategy(min_size=1, max_size=stages.models),
            num_cpus=stages.model_cpus,
            num_gpus=stages.model_gpus or None,
        )


def _stages_of(ray: Any) -> Stages:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return Stages.of([node.get("CPU", 0.0) for node in nodes], sum(node.get("GPU", 0.0) for node in nodes))


def _in_words(error: Exception) -> Exception:
    """What went wrong in the cluster, in one line."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    lines = [line.strip() for line in str(cause).splitlines() if line.strip()]
    words = f"{type(cause).__name__}: {lines[-1] if lines else 'no reason given'}"[:400]
    return StorageError(
        f"the stages on the cluster ended with {words}; what was written is kept, and the next run goes on from there"
    )


@contextmanager
def cluster_decoders(address: str, config: Config, model_batch: int) -> Iterator[Callable[[Recipe, int], RayDecoders]]:
    """What opens decoders on a cluster, for as long as the body runs.

    Args:
        address: of the cluster; see `session.connected`.
        config: names the model, which every machine must have.
        model_batch: pictures that the model is given at a time.
    Raises:
        BackendMissing, ConfigError: Ray or the cluster cannot be used.
    """
    with connected(address, "data") as ray:
        yield lambda recipe, _: RayDecoders(ray, recipe, config, model_batch)
