import os
import signal
import subprocess
import sys
import textwrap

import pytest

from bict.errors import GalleryError
from bict.gallery.lock import locked_file, refuse_second

HOLD = """
    import sys, time
    from pathlib import Path
    from bict.gallery.lock import locked_file
    with locked_file(Path({path!r}), "upgrade run", "there"):
        print("held", flush=True)
        time.sleep(60)
"""


def test_the_lock_of_another_process_is_refused_with_its_owner_and_falls_with_it(tmp_path):
    path = tmp_path / "deep" / "lock"
    code = textwrap.dedent(HOLD.format(path=str(path)))
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(GalleryError) as caught, locked_file(path, "second", "there"):
        pass
    assert f"process {holder.pid} on {os.uname().nodename}" in str(caught.value)
    assert "upgrade run" in str(caught.value)
    assert "\n" not in str(caught.value)
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
    with locked_file(path, "second", "there"):
        assert "second" in path.read_text()
    assert path.read_text() == ""


def test_an_owner_that_cannot_be_read_is_another_process():
    assert "another process" in str(refuse_second("there", "{"))
