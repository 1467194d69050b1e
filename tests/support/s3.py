"""An S3 server for a test: moto's, a process of its own that is spoken to over HTTP as any bucket is."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.config import Config
from botocore.exceptions import BotoCoreError
from botocore.session import get_session

from tests.support.ports import free_port
from tests.support.tls import Authority

SECRET = "the-secret-half-of-an-access-key"


class S3Server:
    """A running server.

    ``environ`` is what the AWS libraries read: where the server is, whose key is used, and that no metadata
    service is asked for one.
    """

    def __init__(self, port: int, process: "subprocess.Popen[bytes]", authority: Authority | None = None) -> None:
        self.url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        self._process = process
        self.environ = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

        self._client = get_session().create_client(
            "s3",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id="somebody",
            aws_secret_access_key=SECRET,
            verify=str(authority.folder / "ca.pem") if authority else None,
            config=Config(retries={"total_max_attempts": 1}),
        )

    def make_bucket(self, name: str) -> None:
        """Make a bucket, as its owner does."""
        self._client.create_bucket(Bucket=name)

    def buckets(self) -> set[str]:
        """Return the names of all buckets."""
        return {bucket["Name"] for bucket in self._client.list_buckets()["Buckets"]}

    def keys(self, bucket: str) -> list[str]:
        """Return the keys of a bucket's objects, as the server has them."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, bucket: str, key: str) -> bytes:
        """Return an object's content."""
        content: bytes = self._client.get_object(Bucket=bucket, Key=key)["Body"].read()
        return content

    def stop(self) -> None:
        """End the server; what it held is gone."""
        self._process.terminate()
        self._process.wait(timeout=10)


@contextmanager
def running_s3(authority: Authority | None = None) -> Iterator[S3Server]:
    """Start the server on a free loopback port, with an authority over TLS, and stop it at the end."""
    port = free_port()
    folder = authority.folder if authority else None
    tls = ["-c", str(folder / "server.pem"), "-k", str(folder / "server.key")] if folder else []
    process = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port), *tls],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    server = S3Server(port, process, authority)
    try:
        _await_ready(server, process)
        yield server
    finally:
        server.stop()


def _await_ready(server: S3Server, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        if process.poll() is not None:
            raise RuntimeError(f"moto ended with {process.returncode}")
        try:
            server.buckets()
        except BotoCoreError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("moto did not become ready")
