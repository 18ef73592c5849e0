"""How the server answers other people while somebody attacks it, over real sockets.

    python benchmarks/serve_attack.py [--photos 500] [--seconds 60] [--same-address] [--json]

Serves an index of made-up encodings (see serve_load.py) in a process of its own. From one address come, at the same
time: connections that send their head a byte a second, uploads that stop after their first bytes, uploads that break
off in the middle, and searches by many connections at once, each asking again after two seconds. From another
address (with `--same-address`: from the same one) somebody searches five times a second. Prints how long that takes,
what was refused, the largest memory of the server's process, and how many lines it wrote to its log.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import shutil
import subprocess
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from serve_load import make_index, started

ATTACKER, VISITOR = "127.0.0.2", "127.0.0.3"
CHUNK = b"x" * 65536
UPLOAD_BYTES = 20 * 2**20


class Attack:
    """What one address does, until it is stopped.

    Args:
        address: of the server.
        source: address of this machine that the connections come from.
    """

    def __init__(self, address: str, source: str) -> None:
        self.place = urlsplit(address)
        self.source = source
        self.stop = asyncio.Event()
        self.statuses: Counter[str] = Counter()

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection from the source address."""
        return await asyncio.open_connection(self.place.hostname, self.place.port, local_addr=(self.source, 0))

    def head(self, method: str, path: str, length: int) -> bytes:
        """The head of a request with a JSON body or a picture."""
        lines = (f"{method} {path} HTTP/1.1", f"Host: {self.place.netloc}", f"Content-Length: {length}")
        return ("\r\n".join(lines) + "\r\n\r\n").encode()

    async def again(self, name: str, act: Any, pause: float) -> None:
        """Do something again and again, with a pause in between."""
        while not self.stop.is_set():
            try:
                self.statuses[f"{name} {await act()}"] += 1
            except (OSError, asyncio.IncompleteReadError, ValueError):
                self.statuses[f"{name} ended"] += 1
            await asyncio.sleep(pause)

    async def slow_head(self) -> str:
        """Send a head a byte a second."""
        reader, writer = await self.connect()
        try:
            for byte in self.head("GET", "/api/status", 0):
                writer.write(bytes([byte]))
                await writer.drain()
                if await self._ended(reader, 1.0):
                    return "closed"
            return "whole"
        finally:
            writer.close()

    async def stalled_upload(self) -> str:
        """Announce a picture, send half of it, then nothing."""
        reader, writer = await self.connect()
        try:
            writer.write(self.head("POST", "/api/uploads", UPLOAD_BYTES))
            for _ in range(UPLOAD_BYTES // 2 // len(CHUNK)):
                writer.write(CHUNK)
                await asyncio.wait_for(writer.drain(), 20)
            line = await asyncio.wait_for(reader.readline(), 60)
            return line.decode("latin-1")[9:12] or "closed"
        except TimeoutError:
            return "held"
        finally:
            writer.close()

    async def aborted_upload(self) -> str:
        """Break an upload off in the middle."""
        _, writer = await self.connect()
        writer.write(self.head("POST", "/api/uploads", UPLOAD_BYTES))
        for _ in range(8):
            writer.write(CHUNK)
            await asyncio.wait_for(writer.drain(), 20)
        writer.transport.abort()
        return "sent"

    async def search(self) -> str:
        """One search by a connection of its own."""
        return str(await self.timed_search(f"[a red car] number {np.random.randint(10**6)}"))

    async def timed_search(self, words: str) -> int:
        """The status of one search."""
        reader, writer = await self.connect()
        try:
            body = json.dumps({"query": words, "limit": 20}).encode()
            head = self.head("POST", "/api/search", len(body)).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
            writer.write(head + body)
            answer = await asyncio.wait_for(reader.read(), 60)
            return int(answer[9:12])
        finally:
            writer.close()

    async def _ended(self, reader: asyncio.StreamReader, seconds: float) -> bool:
        try:
            await asyncio.wait_for(reader.read(1), seconds)
        except TimeoutError:
            return False
        return True


async def visit(address: str, source: str, seconds: float) -> tuple[list[float], Counter[int]]:
    """Searches of somebody else, five a second, each timed from when it was due."""
    visitor, times, statuses = Attack(address, source), list[float](), Counter[int]()
    begin = time.perf_counter()

    async def ask(number: int) -> None:
        due = begin + number / 5
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        try:
            status = await visitor.timed_search(f"[a lighthouse] by the sea {number}")
        except (OSError, ValueError, TimeoutError):
            status = 0
        statuses[status] += 1
        times.append(time.perf_counter() - due)

    await asyncio.gather(*(ask(number) for number in range(int(5 * seconds))))
    return times, statuses


def visited(address: str, source: str, seconds: float) -> tuple[list[float], Counter[int]]:
    """`visit`, in a process of its own."""
    return asyncio.run(visit(address, source, seconds))


async def begin(attack: Attack, name: str, act: Any, pause: float, wait: float) -> None:
    """One of many, so that not all begin at the same moment."""
    await asyncio.sleep(wait)
    await attack.again(name, act, pause)


async def attacked(address: str, args: argparse.Namespace) -> dict[str, Any]:
    """All of it at once."""
    attack = Attack(address, ATTACKER)
    kinds = (
        ("slow head", attack.slow_head, args.slow, 10.0),
        ("stalled upload", attack.stalled_upload, args.stalled, 10.0),
        ("aborted upload", attack.aborted_upload, args.aborted, args.seconds),  # each once
        ("search", attack.search, args.searches, 2.0),
    )
    tasks = []
    for name, act, count, pause in kinds:
        for number in range(count):
            tasks.append(asyncio.create_task(begin(attack, name, act, pause, pause * number / count)))
    source = ATTACKER if args.same_address else VISITOR
    with ProcessPoolExecutor(1) as other:  # what the attack costs its own process is not the server's delay
        loop = asyncio.get_running_loop()
        times, statuses = await loop.run_in_executor(other, visited, address, source, args.seconds)
    attack.stop.set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "visitor": {
            "p50_ms": round(1000 * float(np.percentile(times, 50))),
            "p95_ms": round(1000 * float(np.percentile(times, 95))),
            "max_ms": round(1000 * max(times)),
            "statuses": dict(statuses),
        },
        "attacker": dict(sorted(attack.statuses.items())),
    }


def watch(process: subprocess.Popen[str], stop: threading.Event, seen: dict[str, int]) -> None:
    """The largest memory of the server, in MiB."""
    while not stop.wait(0.2):
        pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
        seen["resident_mib"] = max(seen["resident_mib"], pages * resource.getpagesize() // 2**20)


def measure(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Make, serve, attack; the server ends with this."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192) if hard > 0 else 8192, hard))
    make_index(folder / "index", args.photos, 12, args.model)
    process, address = started(folder / "index", args.model, None)
    stop, seen, lines = threading.Event(), {"resident_mib": 0}, list[str]()
    reader = threading.Thread(target=lambda: lines.extend(process.stderr or ()), daemon=True)
    watcher = threading.Thread(target=watch, args=(process, stop, seen), daemon=True)
    reader.start()
    watcher.start()
    try:
        results = asyncio.run(attacked(address, args))
    finally:
        stop.set()
        watcher.join()
        process.terminate()
        process.wait(60)
        reader.join(10)
    minutes = (args.seconds + 3) / 60
    return results | seen | {"log_lines_a_minute": round(len(lines) / minutes, 1), "log": lines[:5]}


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description="an attack on a server, and what its other visitors notice")
    parser.add_argument("--photos", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--slow", type=int, default=1500, help="connections with slow heads")
    parser.add_argument("--stalled", type=int, default=40, help="uploads that stop")
    parser.add_argument("--aborted", type=int, default=750, help="uploads that break off")
    parser.add_argument("--searches", type=int, default=200, help="searches at once")
    parser.add_argument("--same-address", action="store_true", help="the visitor comes from the attacker's address")
    parser.add_argument("--model", default="find-mini")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="serve-attack-"))
    try:
        results = measure(args, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if args.json:
        print(json.dumps(results))
    else:
        for key, value in results.items():
            print(f"{key}: {value}")


if __name__ == "__main__":
    main()
