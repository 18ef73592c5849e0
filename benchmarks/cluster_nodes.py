"""Three nodes of Ray on this machine, as processes or as machines of a small network, which can be killed or cut off.

A machine of the network is a network namespace with an address of its own, a host name of its own, and folders of its
own for Ray and for parts of a library; a bridge in a fourth namespace connects them. All of them lie within namespaces
that `run_apart` makes, so that the kernel takes away whatever is in them when they end, however they end. Needs Linux,
root, and the programs of iproute2 and util-linux.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import psutil

OBJECT_BYTES = 200 << 20
CPUS = 2  # that a node says it has
APART = "INTERLEAVE_CLUSTER_APART"  # set to the work folder within the namespaces of `run_apart`
HEAD, PORT = "10.77.0.1", 6379
STARTS_WITHIN = 180.0  # seconds for a node to join
PROGRAMS = ("ip", "unshare", "nsenter", "mount", "hostname")


class Nodes(Protocol):
    """Three nodes, of which the first is the head."""

    @property
    def address(self) -> str:
        """Host and port of the head node."""

    def kill(self) -> None:
        """Kill a node that is not the head: its raylet and all its workers at once, by SIGKILL."""

    def add(self) -> None:
        """Start a node in the place of a killed one."""

    def close(self) -> None:
        """End all of them."""


class ProcessNodes:
    """Nodes that are processes of this machine, at one address."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        args = {"num_cpus": CPUS, "object_store_memory": OBJECT_BYTES}
        self._args = args
        self.cluster = Cluster(initialize_head=True, head_node_args={**args, "include_dashboard": False})
        self.others = [self.cluster.add_node(**args) for _ in range(2)]

    @property
    def address(self) -> str:
        """See `Nodes`."""
        return str(self.cluster.address)

    def kill(self) -> None:
        """See `Nodes`."""
        node = self.others.pop()
        raylet = node.all_processes["raylet"][0].process.pid
        for process in [psutil.Process(raylet), *psutil.Process(raylet).children(recursive=True)]:
            with suppress(psutil.NoSuchProcess):
                os.kill(process.pid, signal.SIGKILL)
        self.cluster.remove_node(node, allow_graceful=False)

    def add(self) -> None:
        """See `Nodes`."""
        self.others.append(self.cluster.add_node(**self._args))

    def close(self) -> None:
        """See `Nodes`."""
        import ray

        ray.shutdown()
        self.cluster.shutdown()


# --- machines of a network -----------------------------------------------------------------------


def run_apart(module: str, words: list[str]) -> int:
    """Run a module of benchmarks within namespaces of its own for network, mounts and processes; gives its status.

    When this ends, by whatever signal, the kernel ends all processes there, and with them the network; the work folder
    is removed here.
    """
    missing = [name for name in PROGRAMS if shutil.which(name, path=search_path()) is None]
    if os.getuid() != 0 or missing:
        raise SystemExit(f"--namespaces needs root{''.join(f', and the program {name}' for name in missing)}")
    work = Path(tempfile.mkdtemp(prefix="ilc-"))  # short: sockets of Ray lie below, and may have 107 bytes
    work.chmod(0o755)  # PostgreSQL runs as another user
    apart = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    places = {APART: str(work), "TMPDIR": str(work), "PATH": search_path()}
    password = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    environment = {**os.environ, **places, **password}
    child = subprocess.Popen([*apart, sys.executable, "-m", module, *words], env=environment)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run within gets it, too, and ends in order
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return child.wait()
    finally:
        child.kill()
        child.wait()
        for _ in range(50):  # the last processes there may still write
            shutil.rmtree(work, ignore_errors=True)
            if not work.exists():
                break
            time.sleep(0.1)


def search_path() -> str:
    """The path of programs with those of the administrator."""
    return f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


def _do(*words: str) -> None:
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip() or done.returncode}")


def _begin(*words: str) -> subprocess.Popen[bytes]:
    """A process that stands for namespaces, as long as it lives."""
    process = subprocess.Popen([*words, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE)
    if process.stdout is None or not process.stdout.readline():  # what it says, it says within its namespaces
        raise OSError(f"{' '.join(words)} has ended with status {process.wait()}")
    return process


class Network:
    """A bridge without a machine, to which machines are connected by a cable each."""

    def __init__(self) -> None:
        self._switch = _begin("unshare", "--net")
        self._ip("link", "add", "bridge", "type", "bridge", "forward_delay", "0")
        self._ip("link", "set", "bridge", "up")

    def connect(self, process: int, name: str, address: str) -> None:
        """Give the network namespace of a process an interface with an address."""
        self._ip("link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", str(process))
        self._ip("link", "set", name, "master", "bridge")
        self._ip("link", "set", name, "up")
        inside = ["nsenter", "--target", str(process), "--net", "ip"]
        _do(*inside, "address", "add", f"{address}/24", "dev", "eth0")
        _do(*inside, "link", "set", "lo", "up")
        _do(*inside, "link", "set", "eth0", "up")

    def cut(self, name: str) -> None:
        """Take a cable off: what is sent is lost, and nobody is told."""
        self._ip("link", "set", name, "down")

    def mend(self, name: str) -> None:
        """Put it back."""
        self._ip("link", "set", name, "up")

    def close(self) -> None:
        """Take the bridge away."""
        self._switch.kill()
        self._switch.wait()

    def _ip(self, *words: str) -> None:
        _do("nsenter", "--target", str(self._switch.pid), "--net", "ip", *words)


class Machine:
    """A machine with a node of Ray, which is started again when it ends, as a service manager does.

    Args:
        network: that it is connected to.
        number: of the machine, from 2 on; it makes its name and its address.
        work: folder for the files of all machines.
    """

    def __init__(self, network: Network, number: int, work: Path) -> None:
        self.name, self.address = f"machine{number}", f"10.77.0.{number}"
        self._network, self._own = network, work / self.name
        for folder in ("ray", "parts"):
            (self._own / folder).mkdir(parents=True)
        self._holder = _begin("unshare", "--net", "--mount", "--uts")
        self._enter = ["nsenter", "--target", str(self._holder.pid), "--net", "--mount", "--uts", "--"]
        _do(*self._enter, "hostname", self.name)
        _do(*self._enter, "mount", "--bind", str(self._own / "ray"), str(ray_folder(work)))
        network.connect(self._holder.pid, self.name, self.address)
        self._environment = {**os.environ, "INTERLEAVE_PARTS": str(self._own / "parts")}
        self._node: subprocess.Popen[bytes] | None = None
        self._changing = threading.Lock()
        self.starts = 0

    @property
    def runs(self) -> bool:
        """Whether it has a node, or will have one again in a moment."""
        return self._node is not None

    def start(self) -> None:
        """Start its node."""
        where = ["--address", f"{HEAD}:{PORT}", "--node-ip-address", self.address]
        self._node = start_ray(self._enter, where, self._environment, self._own / "log")
        self.starts += 1

    def tend(self) -> None:
        """Start its node again if that ended by itself: one that the cluster gave up does."""
        with self._changing:
            if self._node is not None and self._node.poll() is not None:
                self._kill_all()  # workers that it left
                self.start()

    def kill(self) -> None:
        """Kill all its processes at once."""
        with self._changing:
            self._kill_all()
            if self._node is not None:
                self._node.wait()
            self._node = None

    def _kill_all(self) -> None:
        own = Path(f"/proc/{self._holder.pid}/ns/net").readlink()
        for _ in range(3):  # what was born meanwhile is killed the next time
            for process in psutil.pids():
                with suppress(OSError):
                    if process != self._holder.pid and Path(f"/proc/{process}/ns/net").readlink() == own:
                        os.kill(process, signal.SIGKILL)

    def cut(self) -> None:
        """Cut it off; its processes live on."""
        self._network.cut(self.name)

    def mend(self) -> None:
        """Connect it again."""
        self._network.mend(self.name)

    def close(self) -> None:
        """Take it away."""
        self.kill()
        self._holder.kill()
        self._holder.wait()


def ray_folder(work: Path) -> Path:
    """Where Ray keeps its files, of each machine others."""
    return work / "r"


def start_ray(enter: list[str], where: list[str], environment: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
    """A node of Ray as its users start it."""
    size = ["--num-cpus", str(CPUS), "--object-store-memory", str(OBJECT_BYTES), "--disable-usage-stats", "--block"]
    words = [*enter, sys.executable, "-m", "ray.scripts.scripts", "start", *where, *size]
    with log.open("ab") as file:
        return subprocess.Popen(words, env=environment, stdout=file, stderr=file, start_new_session=True)


class NetworkNodes:
    """Nodes that are machines of a network of their own. This process is on the first of them, with the head node.

    Args:
        work: folder for the files of all machines.
    """

    def __init__(self, work: Path) -> None:
        self._head: subprocess.Popen[bytes] | None = None
        self._machines: list[Machine] = []
        self._closing = threading.Event()
        self._tending: threading.Thread | None = None
        self._network = Network()
        try:
            self._network.connect(os.getpid(), "machine1", HEAD)
            self._work = work
            ray_folder(work).mkdir()
            os.environ["RAY_TMPDIR"] = str(ray_folder(work))
        except BaseException:
            self.close()
            raise

    def start(self) -> None:
        """Start the nodes, and wait until others can join."""
        where = ["--head", "--port", str(PORT), "--node-ip-address", HEAD, "--include-dashboard", "false"]
        self._head = start_ray([], where, dict(os.environ), self._work / "head.log")
        until(self._head_listens, "the head node listens")
        for number in (2, 3):
            self._machines.append(Machine(self._network, number, self._work))
            self._machines[-1].start()
        self._tending = threading.Thread(target=self._tend, name="service manager", daemon=True)
        self._tending.start()

    @property
    def address(self) -> str:
        """See `Nodes`."""
        return f"{HEAD}:{PORT}"

    def kill(self) -> None:
        """See `Nodes`."""
        next(machine for machine in reversed(self._machines) if machine.runs).kill()

    def add(self) -> None:
        """See `Nodes`."""
        machine = next(machine for machine in self._machines if not machine.runs)
        machine.start()
        self.until_all_are_there()

    def cut_for(self, seconds: float) -> Cut:
        """Cut a machine off for some seconds, and go on meanwhile."""
        return Cut(self, self._machines[-1], seconds)

    def until_all_are_there(self) -> None:
        """Wait until all nodes that run have joined."""

        def joined() -> bool:
            return alive() >= {HEAD, *(machine.address for machine in self._machines)}

        until(joined, "all nodes have joined")

    def close(self) -> None:
        """See `Nodes`."""
        self._closing.set()
        if self._tending is not None:
            self._tending.join()
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        for machine in self._machines:
            machine.close()
        if self._head is not None:
            self._head.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._head.wait(timeout=30)
            self._head.kill()
        self._network.close()

    def _head_listens(self) -> bool:
        if self._head is None or self._head.poll() is not None:
            raise OSError(f"the head node has ended:\n{(self._work / 'head.log').read_text()[-2000:]}")
        with suppress(OSError), socket.create_connection((HEAD, PORT), timeout=1.0):
            return True
        return False

    def _tend(self) -> None:
        while not self._closing.wait(0.5):
            for machine in self._machines:
                machine.tend()


class Cut:
    """A machine that is cut off for some seconds; its processes live on.

    Args:
        nodes: to which it belongs.
    """

    def __init__(self, nodes: NetworkNodes, machine: Machine, seconds: float) -> None:
        self._nodes, self._machine, self._seconds = nodes, machine, seconds
        self._given_up, self._starts = False, machine.starts
        machine.cut()
        self._watching = threading.Thread(target=self._watch, name="cut", daemon=True)
        self._watching.start()

    def until_back(self) -> dict[str, Any]:
        """Wait until the machine is connected and has a node of the cluster again, and tell."""
        self._watching.join()
        begun = time.monotonic()
        if self._given_up:  # its node learns of that now, ends, and is started again
            until(lambda: self._machine.starts > self._starts, "the node that was given up has ended")
        self._nodes.until_all_are_there()
        return {
            "seconds_cut": self._seconds,
            "given_up": self._given_up,
            "started_again": self._machine.starts - self._starts,
            "seconds_until_back": round(time.monotonic() - begun, 1),
        }

    def _watch(self) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end:
            self._given_up = self._given_up or self._machine.address not in alive()
            time.sleep(0.2)
        self._machine.mend()


def alive() -> set[str]:
    """Addresses of the nodes that the cluster takes for alive."""
    import ray

    return {node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}


def until(reached: Callable[[], bool], what: str) -> None:
    """Wait until something is reached."""
    end = time.monotonic() + STARTS_WITHIN
    while not reached():
        if time.monotonic() > end:
            raise TimeoutError(f"after {STARTS_WITHIN:.0f} seconds it is still not so that {what}")
        time.sleep(0.2)
