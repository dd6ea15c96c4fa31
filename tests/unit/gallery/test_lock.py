import os
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from bict.errors import GalleryError
from bict.gallery.lock import beating, has_ended, locked_file, refuse_second, this_process

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


def test_a_process_of_another_container_is_not_judged_by_its_number():
    mine = this_process("upgrade")
    gone = mine.model_copy(update={"pid": 2**22 + 1})
    assert has_ended(gone.model_dump_json())
    assert not has_ended(mine.model_dump_json())
    assert not has_ended(gone.model_copy(update={"machine": "another"}).model_dump_json())


def test_a_beat_that_fails_is_followed_by_the_next():
    beats = threading.Semaphore(0)

    def beat():
        beats.release()
        raise OSError("no network")

    with beating("place", lambda: True, beat, 0.01):
        assert all(beats.acquire(timeout=5) for _ in range(3))
