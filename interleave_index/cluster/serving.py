"""The parts of a library as applications of Ray Serve, each on a pair of replicas. Knows Ray, and no page."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, InterleaveError, NotInIndex, StorageError
from .partition import Partition
from .places import library_name, own_slot, parts_folder, with_folder
from .scatter import Scattered
from .session import check_catalog, connected
from .sharing import Asked, Moment, Reply

if TYPE_CHECKING:
    from ..storage.store import Store

REPLICAS = 2  # of each part
AT_ONCE = 16  # questions that a replica works on
POLL = 1.0  # seconds between two looks at the catalog, and at parts that are lost
PATIENCE = 15.0  # seconds after which a part that does not answer is lost
SECOND_TRY = 1.5  # seconds after which another replica is asked as well
LOOK = 2.0  # seconds that a look at a lost part may take
_LOG = logging.getLogger("interleave_index.cluster")


class Replica:
    """One replica of one part, in a process of Ray.

    Args:
        catalog: name of the index that holds the catalog.
        number, parts: which part, of how many.
        folder: where this machine keeps parts; None takes that of its user.
    """

    def __init__(self, catalog: str, number: int, parts: int, folder: str | None) -> None:
        self._open, self._end = ExitStack(), threading.Event()
        below = Path(folder) if folder else parts_folder()
        slot = self._open.enter_context(own_slot(below / library_name(catalog) / f"{number}-of-{parts}"))
        own_catalog = with_folder(catalog, slot / "catalog")
        self._partition = Partition(own_catalog, number, parts, slot / "index")
        self._open.callback(self._partition.close)
        self._partition.follow()  # a replica is ready when it holds what there is
        self._following = threading.Thread(target=self._follow, name="follow", daemon=True)
        self._following.start()

    def ask(self, moment: Moment, asked: Asked) -> Reply | InterleaveError:
        """See `Partition.ask`; what it raises is given back."""
        try:
            return self._partition.ask(moment, asked)
        except InterleaveError as error:
            return error

    def process(self) -> int:
        """The number of its process, for as long as it can be asked."""
        return os.getpid()

    def _follow(self) -> None:
        while not self._end.wait(POLL):
            try:
                self._partition.follow()
            except Exception as error:  # a database that is away comes back
                _LOG.warning("part %d cannot follow the catalog: %s", self._partition.number, error)

    def __del__(self) -> None:
        with suppress(Exception):
            self._end.set()
            self._following.join(timeout=30)
            self._open.close()


class ServedParts:
    """Parts that are asked through Ray Serve; see `scatter.Parts`. Any number of threads may ask.

    A question goes to one replica; where that does not answer soon, or dies, to another one as well. A part of which
    none answers is lost, and is not waited for again before it is seen to be back.

    Attributes:
        patience: seconds after which a part that does not answer is lost.
    """

    def __init__(self, handles: list[Any], *, patience: float = PATIENCE) -> None:
        self._handles, self.patience = handles, patience
        self._lost: set[int] = set()
        self._threads = ThreadPoolExecutor(max(32, 4 * len(handles)), "part")
        self._end = threading.Event()
        self._looking = threading.Thread(target=self._look, name="lost parts", daemon=True)
        self._looking.start()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._handles)

    @property
    def lost(self) -> set[int]:
        """Numbers of those that did not answer, and were not seen to be back since."""
        return set(self._lost)

    def ask(self, questions: Mapping[int, tuple[Moment, Asked]]) -> dict[int, Reply]:
        """See `scatter.Parts`."""
        asked = {
            number: self._threads.submit(self._ask_one, number, question)
            for number, question in questions.items()
            if number not in self._lost
        }
        replies = {number: future.result() for number, future in asked.items()}
        return {number: reply for number, reply in replies.items() if reply is not None}

    def process(self, number: int) -> int:
        """The process of one of the replicas of a part.

        Raises:
            Exception: none answers within `LOOK` seconds.
        """
        return int(self._handles[number].process.remote().result(timeout_s=LOOK))

    def library(self, store: Store, space_id: int) -> Scattered:
        """The library of a space in these parts; see `query.library.OpenLibrary`."""
        return Scattered(store, space_id, self)

    def close(self) -> None:
        """Ask nothing more."""
        self._end.set()
        self._looking.join(timeout=30)
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask_one(self, number: int, question: tuple[Moment, Asked]) -> Reply | None:
        """The reply of one part; None when none came in time."""
        end, waiting, last = time.monotonic() + self.patience, [], ""
        while (now := time.monotonic()) < end and not self._end.is_set():
            waiting.append(self._handles[number].ask.remote(*question))
            until = min(end, now + SECOND_TRY)
            while waiting and time.monotonic() < until:
                told = _first_answer(waiting, until)
                if isinstance(told, Reply):
                    for response in waiting:
                        response.cancel()
                    return told
                if isinstance(told, NotInIndex | StorageError):  # that replica cannot reach the catalog just now
                    last = str(told)
                elif isinstance(told, InterleaveError):
                    raise told
            time.sleep(0.05)
        for response in waiting:
            response.cancel()
        _LOG.warning("part %d does not answer%s", number, f": {last}" if last else "")
        self._lost.add(number)
        return None

    def _look(self) -> None:
        """Find out which lost parts are back."""
        while not self._end.wait(POLL):
            for number in tuple(self._lost):
                with suppress(Exception):  # it is still lost
                    self.process(number)
                    self._lost.discard(number)


def _first_answer(waiting: list[Any], until: float) -> Reply | InterleaveError | None:
    """What the first of some responses to come says, taken off the list; None when none came, or its replica died."""
    step = 0.02 if len(waiting) > 1 else until - time.monotonic()
    for response in tuple(waiting):
        try:
            told: Reply | InterleaveError = response.result(timeout_s=max(0.001, min(step, until - time.monotonic())))
        except TimeoutError:
            continue
        except Exception as error:
            waiting.remove(response)
            if not _is_loss(error):
                raise
            return None
        waiting.remove(response)
        return told
    return None


def _is_loss(error: Exception) -> bool:
    """Whether a replica, and not the question, is at fault."""
    from ray.exceptions import RayError, RayTaskError
    from ray.serve.exceptions import RayServeException

    return isinstance(error, RayServeException) or (isinstance(error, RayError) and not isinstance(error, RayTaskError))


@contextmanager
def served_parts(
    address: str,
    catalog: str,
    *,
    parts: int | None = None,
    replicas: int = REPLICAS,
    folder: str | None = None,
    patience: float = PATIENCE,
) -> Iterator[ServedParts]:
    """The parts of a library, started where they do not run yet, for as long as the body runs.

    Those that run already, for another server of the same library, are asked too, and are left running.

    Args:
        address: of the cluster; see `session.connected`.
        catalog: name of the index that holds the catalog.
        parts: how many; None takes as many as run already, else one for each machine.
        replicas: of each part, on different machines where there are several.
        folder: where machines keep parts; None takes that of their user.
        patience: seconds after which a part that does not answer is lost.
    Raises:
        BackendMissing, ConfigError: Ray, the cluster or the catalog cannot be used.
    """
    with connected(address, "serve") as ray:
        check_catalog(ray, catalog)
        applications = _Applications(ray, library_name(catalog))
        count = parts or applications.count or sum(node["Alive"] for node in ray.nodes())
        if count < 1 or replicas < 1:
            raise ConfigError(f"{count} parts with {replicas} replicas each, expected 1 or more of both")
        started = applications.start(catalog, count, replicas, folder)
        served = ServedParts(applications.handles(count), patience=patience)
        try:
            yield served
        finally:
            served.close()
            applications.end(started)


class _Applications:
    """The applications of one library in a cluster: one for each part, so that each comes and goes by itself."""

    def __init__(self, ray: Any, library: str) -> None:
        self._ray, self._serve, self._prefix = ray, ray.serve, f"interleave-{library}-"
        self._serve.start(
            proxy_location="Disabled", logging_config={"log_level": "WARNING", "enable_access_log": False}
        )

    @property
    def running(self) -> set[str]:
        """Their names, as far as they run or are about to."""
        found = self._serve.status().applications
        gone = {"DELETING", "DEPLOY_FAILED", "NOT_STARTED"}
        return {name for name, app in found.items() if name.startswith(self._prefix) and app.status not in gone}

    @property
    def count(self) -> int | None:
        """How many parts run already; None for none."""
        counts = [int(name.rpartition("-of-")[2]) for name in self.running]
        return max(counts, default=None)

    def name(self, number: int, parts: int) -> str:
        """Of one part."""
        return f"{self._prefix}{number}-of-{parts}"

    def start(self, catalog: str, parts: int, replicas: int, folder: str | None) -> list[str]:
        """Start the parts that do not run, and wait until they can be asked; gives their names."""
        missing = [number for number in range(parts) if self.name(number, parts) not in self.running]
        nodes = [node for node in self._ray.nodes() if node["Alive"]]
        cpus = sum(node["Resources"].get("CPU", 0) for node in nodes)
        options = {
            "num_replicas": replicas,
            "max_ongoing_requests": AT_ONCE,
            # a share of the processors: all replicas have to find a place when a machine is lost
            "ray_actor_options": {"num_cpus": max(0.01, min(1.0, round(0.4 * cpus / (parts * replicas), 2)))},
            "health_check_period_s": 2.0,
            "health_check_timeout_s": 10.0,
            "graceful_shutdown_timeout_s": 5.0,
            "max_constructor_retry_count": 100,
        }
        if len(nodes) >= replicas > 1:
            options["max_replicas_per_node"] = 1
        deployment = self._serve.deployment(Replica).options(name="part", **options)
        targets = [
            self._serve.RunTarget(
                target=deployment.bind(catalog, number, parts, folder),
                name=self.name(number, parts),
                route_prefix=None,
            )
            for number in missing
        ]
        if targets:
            self._serve.run_many(targets)
        return [target.name for target in targets]

    def handles(self, parts: int) -> list[Any]:
        """What asks each part."""
        return [self._serve.get_deployment_handle("part", app_name=self.name(n, parts)) for n in range(parts)]

    def end(self, names: list[str]) -> None:
        """End some applications; a cluster that is gone has ended them."""
        for name in names:
            with suppress(Exception):
                self._serve.delete(name)
