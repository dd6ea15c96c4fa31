"""Upgrades on a Ray of two CPUs: the bytes of the local engine, whoever is killed meanwhile."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import psutil
import pytest

from bict.embeddings import Embeddings, normalise
from bict.engine import open_engine
from bict.errors import GalleryError, MissingExtra
from bict.gallery import Gallery, stage, upgrade, verify
from bict.spaces import Space
from bict.transforms import Pairs, ResidualMLP, Transform
from bict.workflow.lifecycle import run

pytest.importorskip("ray")
pytestmark = pytest.mark.slow

OLD, NEW = Space(name="old", fingerprint="a" * 16, dim=24), Space(name="new", fingerprint="b" * 16, dim=40)
ROWS, UNIT_ROWS = 6_000, 300
STORES = ["lance", "lance over s3", "postgresql", "qdrant over http"]


def unit_vectors(rows, dim, seed=0):
    return normalise(np.random.default_rng(seed).normal(size=(rows, dim)).astype(np.float32))


@pytest.fixture(scope="module")
def transform(tmp_path_factory):
    pairs = Pairs(unit_vectors(200, OLD.dim)[None], unit_vectors(200, NEW.dim)[None])
    directory = tmp_path_factory.mktemp("ray") / "psi"
    Transform(ResidualMLP(hidden=64, epochs=1).fit(pairs), OLD, NEW).save(directory)
    return Transform.load(directory)


@pytest.fixture(params=STORES)
def address(request, tmp_path):
    """A fresh address of each store."""
    if request.param == "lance":
        return str(tmp_path / "gallery")
    if request.param == "lance over s3":
        return request.getfixturevalue("bucket")
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").network_address(f"items_{os.getpid()}_{abs(hash(tmp_path))}")
    return f"qdrant://127.0.0.1:{request.getfixturevalue('qdrant_server')[1]}/items"


def make(address):
    ids = np.array([f"r{row:05d}" for row in range(ROWS)])
    if address.startswith("qdrant"):
        ids = np.arange(ROWS)
    return Gallery.create(address, Embeddings(ids, unit_vectors(ROWS, OLD.dim), OLD), unit_rows=UNIT_ROWS)


def staged(gallery):
    """The new vectors by id, and what the ledger says of each unit."""
    new = gallery.vectors("v2")
    order = np.argsort(new.ids)
    entries = gallery.store.ledger("v2").entries().values()
    return new.vectors[order].tobytes(), sorted((entry.rows, entry.sha256, entry.source_sha256) for entry in entries)


@pytest.fixture(scope="module")
def reference(transform, tmp_path_factory):
    """What the local engine writes."""
    gallery = make(str(tmp_path_factory.mktemp("reference") / "gallery"))
    stage(gallery, transform)
    return staged(gallery)


def workers_of(process):
    return [child for child in process.children(recursive=True) if child.name().startswith("ray::Worker")]


def test_the_bytes_are_those_of_the_local_engine(address, transform, reference):
    told = []
    gallery = make(address)

    def steps(name):
        return nullcontext(lambda *call: told.append(call) if name == "stage" else None)

    with open_engine("ray", workers=2) as engine:
        report = upgrade(gallery, transform, engine=engine, steps=steps)
    assert staged(gallery)[0] == reference[0]
    if "qdrant" not in address:
        assert staged(gallery)[1] == reference[1]
    assert (report.staged.rows, report.staged.units_skipped) == (ROWS, 0)
    assert told == sorted(told)
    assert told[-1] == (ROWS, ROWS)
    assert len(told) == report.staged.units
    assert all(path.startswith(str(Path(address).parent)) for path in report.opened) or "://" in address


def test_a_killed_worker_loses_nothing(address, transform, reference):
    gallery, killed = make(address), []

    def kill(done, total):
        if len(killed) < 3 and done > len(killed) * ROWS / 4:
            victim = workers_of(psutil.Process())[0]
            victim.kill()
            killed.append(victim.pid)

    with open_engine("ray", workers=2) as engine:
        report = stage(gallery, transform, engine=engine, progress=kill)
    assert len(set(killed)) == 3
    assert report.rows == ROWS
    assert staged(gallery)[0] == reference[0]
    assert verify(gallery, transform).passed


def test_a_killed_driver_goes_on_where_it_was(address, transform, reference, tmp_path):
    gallery = make(address)
    script = f"""
        import os, psutil, signal
        from pathlib import Path
        from bict.workflow.lifecycle import run
        def kill(done, total):
            if done > total / 2:
                children = psutil.Process().children(recursive=True)
                print([child.pid for child in children if child.name().startswith("ray::Worker")], flush=True)
                os.kill(os.getpid(), signal.SIGKILL)
        run({address!r}, [Path({str(transform.path)!r})], engine="ray", workers=2, progress=kill)
    """
    words = [sys.executable, "-c", textwrap.dedent(script)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    workers = [psutil.Process(pid) for pid in json.loads(done.stdout) if psutil.pid_exists(pid)]
    assert psutil.wait_procs(workers, timeout=30)[1] == []  # they end with their driver
    recorded = len(gallery.store.ledger("v2").entries())
    assert 0 < recorded < len(gallery.store.units("v2"))
    again = run(address, [transform.path], engine="ray", workers=2)
    assert again.units_skipped == recorded
    assert staged(gallery)[0] == reference[0]
    units = [unit.key for unit in gallery.store.units("v2")]
    assert sorted(gallery.store.ledger("v2").entries()) == sorted(units)
    assert verify(gallery, transform).passed
    if "://" not in address:
        files = {path.name for path in Path(address, "vectors.lance", "data").glob("*.lance")}
        receipts = {entry.receipt for entry in gallery.store.ledger("v2").entries().values()}
        assert len(files) == len(units) + len(receipts)  # of files that nobody listed, none is left


def test_an_unreadable_fragment_is_named_and_the_others_are_staged(transform, reference, tmp_path):
    gallery = make(str(tmp_path / "gallery"))
    victim = sorted((tmp_path / "gallery/vectors.lance/data").iterdir())[0]
    content = victim.read_bytes()
    victim.write_bytes(content[: len(content) // 2])
    with open_engine("ray", workers=2) as engine:
        with pytest.raises(
            GalleryError, match=rf"unit \d+-[0-9a-f]+ \({UNIT_ROWS} rows\) of .* cannot be read"
        ) as refused:
            stage(gallery, transform, engine=engine)
        assert "\n" not in str(refused.value)
        assert len(gallery.store.ledger("v2").entries()) == ROWS / UNIT_ROWS - 1
        victim.write_bytes(content)
        assert stage(gallery, transform, engine=engine).units_skipped == ROWS / UNIT_ROWS - 1
    assert staged(gallery) == reference


STEPS = [["stage"], ["verify"], ["index"]]


def test_the_command_prints_its_answer_and_nothing_of_ray(transform, tmp_path):
    address = str(tmp_path / "gallery")
    make(address)
    words = [sys.executable, "-c", "from bict.cli.main import main; main()", "upgrade", address, str(transform.path)]
    options = ["--yes", "--engine", "ray", "--workers", "2", "--json"]
    done = subprocess.run([*words, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["column"] == "v2"
    assert [line for line in done.stderr.splitlines() if line.split()[:1] not in STEPS] == []


def test_a_folder_for_one_process_is_refused(transform, tmp_path):
    gallery = make(f"qdrant://{tmp_path}/folder?collection=items")
    with open_engine("ray", workers=1) as engine, pytest.raises(GalleryError, match="admits one process only"):
        stage(gallery, transform, engine=engine)


def test_without_ray_nothing_is_written(transform, tmp_path, monkeypatch):
    gallery = make(str(tmp_path / "gallery"))
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'bict\[ray\]'"):
        run(gallery.address, [transform.path], engine="ray")
    assert gallery.metadata.staged is None
