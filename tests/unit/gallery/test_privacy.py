import importlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from bict.errors import PrivacyError
from bict.gallery import within_boundary


@pytest.fixture
def folders(tmp_path):
    for name in ("allowed", "photos"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"pixels")
    return tmp_path / "allowed", tmp_path / "photos"


def test_files_outside_are_refused_and_files_inside_are_listed(folders):
    allowed, photos = folders
    with within_boundary(allowed) as log:
        assert (allowed / "a.jpg").read_bytes() == b"pixels"
        for attempt in (
            (photos / "a.jpg").read_bytes,
            lambda: os.open(photos / "a.jpg", os.O_RDONLY),
            lambda: (photos / "new.txt").write_text("leak"),
            Path(os.path.relpath(photos / "a.jpg")).read_bytes,
        ):
            with pytest.raises(PrivacyError, match=r"refused file .*photos"):
                attempt()
    assert log.opened == [str((allowed / "a.jpg").resolve())]
    assert len(log.refused) == 4
    assert (photos / "a.jpg").read_bytes() == b"pixels"


def test_a_link_out_of_the_boundary_and_a_name_that_starts_alike_are_refused(folders, tmp_path):
    allowed, photos = folders
    (allowed / "link.jpg").symlink_to(photos / "a.jpg")
    (tmp_path / "allowed-not").write_text("x")
    with within_boundary(allowed):
        for path in (allowed / "link.jpg", tmp_path / "allowed-not"):
            with pytest.raises(PrivacyError):
                path.read_bytes()


def test_an_image_among_installed_packages_is_refused_and_code_is_not(folders):
    package = Path(sys.modules["bict"].__file__).parent
    sys.modules.pop("json.tool", None)
    with within_boundary(folders[0]) as log:
        importlib.import_module("json.tool")
        assert (package / "errors.py").read_text()
        assert Path(os.devnull).read_bytes() == b""
        with pytest.raises(PrivacyError):
            (package / "logo.png").open()
        with pytest.raises(PrivacyError):
            (package / "errors.py").open("a")
    assert log.opened == []


def test_the_network_and_new_processes_are_refused_and_local_sockets_are_not(folders):
    server = socket.create_server(("127.0.0.1", 0))
    address = server.getsockname()
    with within_boundary(folders[0]) as log:
        for attempt in (
            lambda: socket.create_connection(address),
            lambda: socket.getaddrinfo("example.invalid", 80),
            lambda: subprocess.run(["true"], check=True),
        ):
            with pytest.raises(PrivacyError):
                attempt()
        with socket.socket() as client, pytest.raises(PrivacyError, match=r"socket\.connect"):
            client.connect(address)
        with socket.socket() as other, pytest.raises(PrivacyError, match=r"socket\.bind"):
            other.bind(("127.0.0.1", 0))
        left, right = socket.socketpair()
        left.sendall(b"x")
        assert right.recv(1) == b"x"
        left.close()
        right.close()
    assert len(log.refused) == 5
    with server:
        socket.create_connection(address).close()


def test_other_threads_are_held_to_it_too(folders):
    caught = []

    def look():
        try:
            (folders[1] / "a.jpg").read_bytes()
        except PrivacyError as error:
            caught.append(error)

    with within_boundary(folders[0]):
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    assert len(caught) == 1


def test_boundaries_nest_and_end_with_an_error(folders):
    allowed, photos = folders
    with within_boundary(allowed, photos), pytest.raises(PrivacyError), within_boundary(allowed):
        (photos / "a.jpg").read_bytes()
    assert (photos / "a.jpg").read_bytes() == b"pixels"
