"""A server that speaks S3, in threads of this process, for tests: moto's, between which and its clients one can step.

It counts what it is asked for, and can be told to fail, and to be away. What is in it outlives being away.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from typing import Any

MISSING = "s3fs, moto, flask or flask-cors is not installed (`make stores`)"
KEY, SECRET = "tests", "secret of the tests"


def can_run() -> bool:
    """Whether all packages are there."""
    return all(find_spec(name) is not None for name in ("s3fs", "moto", "flask", "flask_cors", "boto3"))


class S3Server:
    """The server. Made once; tests have a bucket each.

    Attributes:
        asked: method and path of every request since `asked` was cleared.
        failing: how many of the next requests of an object are answered with 503.
    """

    def __init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self.asked: list[str] = []
        self.failing = 0
        self.port = 0
        self._server: Any = None
        self.start()

    @property
    def endpoint(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Answer, where it answered before."""
        from werkzeug.serving import make_server

        self._server = make_server("127.0.0.1", self.port, self._answer, threaded=True)
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Be away."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def answers(self) -> bool:
        """Whether it is there."""
        return self._server is not None

    def _answer(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"].encode("latin-1").decode()
        self.asked.append(f"{environ['REQUEST_METHOD']} {path}")
        if self.failing and re.fullmatch(r"/[^/]+/.+", path):
            self.failing -= 1
            start_response("503 Slow Down", [("Content-Type", "application/xml")])
            return [b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"]
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer


class Bucket:
    """A bucket of its own, written by a client that knows nothing of the package.

    Attributes:
        url: of the bucket.
    """

    def __init__(self, server: S3Server) -> None:
        import boto3

        self.server, self.name = server, f"bucket-{uuid.uuid4().hex[:8]}"
        self.url = f"s3://{self.name}"
        options = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET, "region_name": "us-east-1"}
        self._client = boto3.client("s3", endpoint_url=server.endpoint, **options)
        self._client.create_bucket(Bucket=self.name)

    def put(self, name: str, data: bytes) -> str:
        """Write an object; gives its URL."""
        self._client.put_object(Bucket=self.name, Key=name, Body=data)
        return f"{self.url}/{name}"

    def get(self, name: str) -> bytes:
        """Bytes of an object."""
        data: bytes = self._client.get_object(Bucket=self.name, Key=name)["Body"].read()
        return data

    def delete(self, *names: str) -> None:
        """Delete objects."""
        for name in names:
            self._client.delete_object(Bucket=self.name, Key=name)

    def remove(self) -> None:
        """Delete the bucket itself, which is empty."""
        self._client.delete_bucket(Bucket=self.name)

    def names(self) -> list[str]:
        """Names of all objects, sorted."""
        return [found["Key"] for found in self._client.list_objects_v2(Bucket=self.name).get("Contents", [])]

    def reads(self) -> list[str]:
        """Names of the objects that were read since `server.asked` was cleared, in order."""
        start = f"GET /{self.name}/"
        return [asked.removeprefix(start) for asked in self.server.asked if len(asked) > len(start) and start in asked]
