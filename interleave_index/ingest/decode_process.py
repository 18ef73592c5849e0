"""The decode process: a small program that turns tasks into replies, and the frames of its messages.

Run as `python -m interleave_index.ingest.decode_process` by `decode_pool`, and talked to in pickled
frames over its standard input and output. It is a program of its own, not a child of `multiprocessing`, so that the
caller's main module is never run again and scripts need no guard. It ends when its input ends, so it never outlives
its parent.
"""

from __future__ import annotations

import os
import pickle
import signal
import struct
import sys
from typing import IO, Any

import numpy as np

from .decode_task import work

_LENGTH = struct.Struct(">I")


def send(stream: IO[bytes], message: object) -> None:
    """Write one pickled frame."""
    data = pickle.dumps(message, protocol=5)
    stream.write(_LENGTH.pack(len(data)) + data)
    stream.flush()


def receive(stream: IO[bytes]) -> Any:
    """Read one pickled frame.

    Raises:
        EOFError: the other side has gone.
    """
    head = stream.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    data = stream.read(_LENGTH.unpack(head)[0])
    if len(data) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return pickle.loads(data)


def main() -> None:
    """Serve tasks until the input ends: frames (task, offset of its slot) in, replies out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    tasks, replies = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # a library that prints must not break the frames
    recipe, block = receive(tasks)
    memory = open_block(block)
    _one_thread()
    send(replies, "ready")
    while True:
        try:
            task, offset = receive(tasks)
        except EOFError:
            break
        reply, rgb = work(task, recipe)
        if rgb is not None:
            slot = np.ndarray(rgb.shape, np.uint8, memory.buf, offset)
            slot[...] = rgb
            del slot, rgb
        send(replies, reply)
    memory.close()


def open_block(name: str) -> Any:
    """Attach to the parent's shared memory without becoming answerable for its end."""
    from multiprocessing import resource_tracker, shared_memory

    if sys.version_info >= (3, 13):
        return shared_memory.SharedMemory(name, track=False)
    register = resource_tracker.register
    resource_tracker.register = lambda *_: None
    try:
        return shared_memory.SharedMemory(name)
    finally:
        resource_tracker.register = register


def _one_thread() -> None:
    """One thread a process: there are as many processes as the machine can run at once."""
    from PIL import AvifImagePlugin

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1


if __name__ == "__main__":
    main()
