"""An object storage that speaks S3, on the loopback interface: the server of the package moto."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

BUCKET = "vectors-of-tests"
STARTS = 5


@contextmanager
def serving() -> Iterator[str]:
    """A running server with one empty bucket: its endpoint."""
    program = shutil.which("moto_server", path=str(Path(sys.executable).parent)) or shutil.which("moto_server")
    if program is None:
        pytest.skip("no moto_server: pip install 'moto[server]'")
    for _ in range(STARTS):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        endpoint = f"http://127.0.0.1:{port}"
        words = [program, "-H", "127.0.0.1", "-p", str(port)]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            try:
                if _has_bucket(endpoint, server, port):
                    yield endpoint
                    return
            finally:
                server.kill()
    raise TimeoutError(endpoint)


def _has_bucket(endpoint: str, server: subprocess.Popen[bytes], port: int) -> bool:
    """Whether the server came up and made the bucket; it ends where somebody else took its port meanwhile."""
    for _ in range(600):
        if server.poll() is not None:
            break
        if port not in {found.laddr.port for found in psutil.Process(server.pid).net_connections("tcp")}:
            time.sleep(0.1)
            continue
        try:
            request = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")  # noqa: S310
            urllib.request.urlopen(request, timeout=5).close()  # noqa: S310
        except OSError:
            time.sleep(0.1)
        else:
            return True
    return False
