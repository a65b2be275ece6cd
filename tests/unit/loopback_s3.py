"""An S3 server on the loopback interface, whose requests can be counted.

It checks If-None-Match and writes in two steps, which a lock makes one, as it is on S3.
"""

from __future__ import annotations

import logging
import re
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

BUCKET = "bucket"
_REQUEST = re.compile(r'"(?:\x1b\[[0-9;]*m)*([A-Z]+) (\S+) HTTP')


class _Requests(logging.Handler):
    """Keeps (method, path) of each request that the server logs."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, str]] = []

    def emit(self, record: logging.LogRecord) -> None:
        if found := _REQUEST.search(record.getMessage()):
            self.seen.append((found[1], found[2]))


class S3Server:
    """The server. options: as pylance names them. requests: (method, path), in the order answered."""

    def __init__(self, endpoint: str, requests: list[tuple[str, str]]) -> None:
        self.requests = requests
        self.options: dict[str, Any] = {
            "aws_access_key_id": "test",
            "aws_secret_access_key": "test",
            "aws_region": "us-east-1",
            "aws_endpoint": endpoint,
            "allow_http": "true",
        }

    def uri(self) -> str:
        """A place of its own."""
        return f"s3://{BUCKET}/tables/{uuid.uuid4().hex}"


@contextmanager
def serving() -> Iterator[S3Server]:
    """A server for a block, with one bucket. Skips the test where moto or s3fs are missing."""
    server_module = pytest.importorskip("moto.server")
    responses = pytest.importorskip("moto.s3.responses")
    s3fs = pytest.importorskip("s3fs")
    lock, put = threading.Lock(), responses.S3Response.put_object

    def put_object(self: Any) -> Any:
        with lock:
            return put(self)

    handler, logger = _Requests(), logging.getLogger("werkzeug")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    responses.S3Response.put_object = put_object
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    server.start()
    try:
        host, port = server.get_host_and_port()
        found = S3Server(f"http://{host}:{port}", handler.seen)
        system = s3fs.S3FileSystem(key="test", secret="test", endpoint_url=f"http://{host}:{port}")
        system.call_s3("create_bucket", Bucket=BUCKET)
        yield found
    finally:
        server.stop()
        responses.S3Response.put_object = put
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
