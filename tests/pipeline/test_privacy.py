"""An upgrade reads the gallery and the transform, and nothing else: recorded from outside, with the images gone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from tests.pipeline.conftest import Flow

import bict

pytestmark = pytest.mark.slow

RECORDER = """
import json, sys
events = []
watching = False
def watch(event, arguments):
    if watching and (event == "open" or event.startswith("socket.")):
        events.append([event, str(arguments[0])])
sys.addaudithook(watch)
from bict.cli.main import main
watching = True
try:
    main(["upgrade", sys.argv[1], sys.argv[2], "--yes", "--json"])
finally:
    watching = False
    with open(sys.argv[3], "w") as file:
        json.dump(events, file)
"""


def test_upgrade_opens_nothing_but_gallery_and_transform(flow: Flow, tmp_path: Path) -> None:
    gallery = flow.make_gallery(tmp_path / "gallery")
    transform = shutil.copytree(flow.transform, tmp_path / "psi")
    hidden = flow.photos.rename(flow.photos.with_name("hidden"))
    try:
        arguments = [sys.executable, "-c", RECORDER, gallery, transform, tmp_path / "events.json"]
        done = subprocess.run(arguments, capture_output=True, text=True, check=False, cwd=tmp_path)
    finally:
        hidden.rename(flow.photos)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["column"] == "v2"

    events = json.loads((tmp_path / "events.json").read_text())
    opened = [Path(name) for event, name in events if event == "open" and not name.isdigit()]
    code = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]
    code += [Path(bict.__file__).parent, Path(sys.base_prefix)]
    allowed = [gallery, transform, *code, Path("/proc"), Path("/sys"), Path("/dev"), Path("/etc")]
    outside = [path for path in opened if path.is_absolute() and not any(path.is_relative_to(top) for top in allowed)]
    assert outside == []
    assert any(path.is_relative_to(gallery) for path in opened)
    assert not [path for path in opened if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".npz"}]
    assert not [name for event, name in events if event in {"socket.connect", "socket.bind", "socket.getaddrinfo"}]
