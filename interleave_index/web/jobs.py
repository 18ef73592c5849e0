"""One ingest at a time, in a thread with an index of its own; its progress can be watched by any number of people."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..errors import InterleaveError
from ..export.files import printable
from ..ingest.tally import IngestProgress
from ..records import IngestReport
from ..service import Index
from .problems import Refused, log

State = Literal["running", "done", "stopped", "failed"]
HELD = 20  # finished jobs that can still be looked at


@dataclass(slots=True)
class Job:
    """One ingest.

    Attributes:
        version: raised with every change, so that watchers know when to look.
    """

    name: str
    folders: tuple[Path, ...]
    state: State = "running"
    stage: str = "scan"
    done: int = 0
    total: int | None = None
    encoded: int = 0
    failures: int = 0
    photos_per_s: float = 0.0
    passages: int = 0
    passages_total: int = 0
    report: IngestReport | None = None
    detail: str = ""
    version: int = 0
    began: float = field(default_factory=time.time)
    stop: threading.Event = field(default_factory=threading.Event)

    def tell(self, step: IngestProgress) -> None:
        """Progress from the run."""
        self.stage, self.done, self.total, self.encoded = step.stage, step.done, step.total, step.encoded
        self.failures, self.photos_per_s = step.failed, step.photos_per_s
        self.passages, self.passages_total = step.passages, step.passages_total
        self.version += 1

    def to_json(self) -> dict[str, Any]:
        """The job as plain JSON values; `report` once it has ended."""
        report = None if self.report is None else self.report.to_json()
        return {
            "job": self.name,
            "folders": [printable(str(folder)) for folder in self.folders],
            "state": self.state,
            "stage": self.stage,
            "done": self.done,
            "total": self.total,
            "encoded": self.encoded,
            "failed": self.failures,
            "photos_per_s": round(self.photos_per_s, 2),
            "passages": self.passages,
            "passages_total": self.passages_total,
            "detail": self.detail,
            "report": report,
        }


class Jobs:
    """The jobs of a server.

    Args:
        roots: folders below which photos may be taken in.
        open_index: gives an index that the job's thread may write by; closed afterwards.
    """

    def __init__(self, roots: tuple[Path, ...], open_index: Callable[[], Index]) -> None:
        self._roots = tuple(root.resolve() for root in roots)
        self._open = open_index
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._threads: dict[str, threading.Thread] = {}
        self._lock = threading.Lock()

    @property
    def last(self) -> Job | None:
        """The job that began last."""
        return next(reversed(self._jobs.values()), None)

    def get(self, name: str) -> Job:
        """One by name; Refused with 404 when there is none."""
        if name not in self._jobs:
            raise Refused(404, f"there is no job {name[:40]!r}")
        return self._jobs[name]

    def begin(self, folder: str | None) -> Job:
        """Start taking in a folder below the roots, or all of them.

        Raises:
            Refused: 403 outside the roots, 404 no such folder, 409 while another job runs.
        """
        folders = self._roots if folder is None else (self._below(folder),)
        if not folders:
            raise Refused(403, "this server takes in no photos; start it with --root FOLDER to let it")
        with self._lock:
            running = next((job for job in self._jobs.values() if job.state == "running"), None)
            if running is not None:
                raise Refused(409, f"job {running.name} is still running; wait for it or stop it", job=running.name)
            job = Job(secrets.token_urlsafe(9), folders)
            self._jobs[job.name] = job
            while len(self._jobs) > HELD:
                self._jobs.popitem(last=False)
            self._threads = {job.name: threading.Thread(target=self._run, args=(job,), name="ingest", daemon=True)}
            self._threads[job.name].start()
        return job

    def close(self, wait: float = 30.0) -> None:
        """Ask the running job to stop, and wait for it to write what it has."""
        for job in self._jobs.values():
            job.stop.set()
        for thread in self._threads.values():
            thread.join(timeout=wait)

    def _below(self, folder: str) -> Path:
        """The folder that a request means, resolved, so that no `..` and no link leads out of the roots."""
        try:
            tried = [(root / folder).resolve() for root in self._roots]
            fitting = [path for path in tried if any(path.is_relative_to(root) for root in self._roots)]
            there = [path for path in fitting if path.is_dir()]
        except (OSError, ValueError, RuntimeError):
            raise Refused(422, "folder has a name that no folder can have") from None
        if not fitting:
            raise Refused(403, f"folder {printable(folder)!r} is not below a root of this server")
        if not there:
            raise Refused(404, f"there is no folder {printable(folder)!r} below the roots of this server")
        return there[0]

    def _run(self, job: Job) -> None:
        try:
            with self._open() as index:
                job.report = index.ingest(list(job.folders), progress=job.tell, stop=job.stop, within=self._roots)
            job.state = "stopped" if job.report.interrupted else "done"
            job.failures = len(job.report.failed)
        except InterleaveError as error:
            job.state, job.detail = "failed", " ".join(str(error).split())
        except Exception as error:  # a thread has nobody above it who would tell
            log.error("ingest failed", exc_info=error)
            job.state, job.detail = "failed", f"the server failed ({type(error).__name__}); its log says where"
        finally:
            job.version += 1
