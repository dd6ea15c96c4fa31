"""Kills upgrades at random moments, resumes them, and counts what was lost: every count must be 0.

    python benchmarks/chaos.py --runs 100 --json benchmarks/records/chaos_lance.json
    python benchmarks/chaos.py --store postgresql --runs 100 --json benchmarks/records/chaos_postgresql.json

Each run writes a gallery, starts an upgrade in a process of its own, kills that process (SIGKILL) at a random moment,
some runs twice, and lets a last start finish. Runs end with the upgrade, with a rollback, or with finalize. Meanwhile
this process searches all the time, and in a third of the runs adds and deletes rows. Some Lance runs fill the disk (a
small tmpfs, where mounting is allowed) before they are resumed; some PostgreSQL runs kill the server and start it anew.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from chaos_counts import BAD, Counts, show
from chaos_places import PLACES, Place
from chaos_rows import NEW, OLD, Reference, compare, digest, rows_of, vectors_of
from rich.console import Console
from rich.progress import Progress

from bict.embeddings import Embeddings
from bict.errors import BictError, GalleryError, RowsChanged, SpaceError
from bict.gallery import Gallery, finalize, rollback, upgrade
from bict.spaces import Space

ROWS, UNIT_ROWS = 4000, 500
ASKED_AGAIN = 5
MOST_TRIES = 5
GOALS = ("upgrade", "rollback", "finalize")


# --- the process that is killed -------------------------------------------------------------------------------------


def told(step: str) -> contextlib.AbstractContextManager[Callable[[int, int], None]]:
    """Say when something of a unit is staged."""
    return contextlib.nullcontext(lambda _done, _total: print("staging", flush=True) if step == "stage" else None)


def work(address: str, goal: str, pause: float) -> None:
    """Do what is left of the upgrade, and then of the goal; the state is found in the gallery alone."""
    print("ready", flush=True)
    gallery = Gallery.open(address)
    upgrade(gallery, Reference(pause), steps=told)
    print("switched", flush=True)
    if goal == "rollback":
        rollback(gallery)
    if goal == "finalize":
        finalize(gallery, drop_base=True)
    print("done", flush=True)


@dataclass
class Worker:
    """A started upgrade."""

    address: str
    goal: str
    pause: float

    def __post_init__(self) -> None:
        words = [sys.executable, __file__, "--worker", self.address, "--goal", self.goal, "--pause", str(self.pause)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.last = "starting"
        self.errors = ""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.last = line.strip()

    def wait_until_ready(self) -> None:
        while self.last == "starting" and self.process.poll() is None:
            time.sleep(0.005)

    def kill_after(self, seconds: float) -> bool:
        """Whether it still ran then, and so was killed."""
        self.wait_until_ready()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        if self.process.poll() is not None:
            return False
        self.process.send_signal(signal.SIGKILL)
        self.finish()
        return True

    def finish(self) -> int:
        code = self.process.wait(300)
        self.reader.join()
        self.errors = (self.process.stderr.read() if self.process.stderr else "").strip()
        for stream in (self.process.stdout, self.process.stderr):
            if stream:
                stream.close()
        return code


# --- what goes on meanwhile -----------------------------------------------------------------------------------------


class Application:
    """Searches all the time, and adds and deletes rows when asked to, as an application would."""

    def __init__(self, address: str, counts: Counts, problems: list[str]) -> None:
        self.address, self.counts, self.problems = address, counts, problems
        self.stop = threading.Event()
        self.paused = threading.Event()
        self.rng = np.random.default_rng(0)
        self.thread = threading.Thread(target=self._search, daemon=True)

    def __enter__(self) -> Application:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        self.thread.join()

    def _search(self) -> None:
        gallery = None
        while not self.stop.is_set():
            if self.paused.is_set():
                gallery = None
                time.sleep(0.05)
                continue
            try:
                gallery = gallery or Gallery.open(self.address)
                self._search_once(gallery)
            except BictError as error:
                if not self.paused.is_set():
                    self.counts.searches_failed += 1
                    self.problems.append(f"search: {error}")
            time.sleep(0.01)

    def _search_once(self, gallery: Gallery) -> None:
        """A row's own vector must find that row first, whichever space is live."""
        number = int(self.rng.integers(ROWS // 2, ROWS))
        ids = np.array([f"r{number:06d}"])
        for attempt in range(ASKED_AGAIN):
            space = gallery.active_space
            old = Embeddings(ids, vectors_of(ids, OLD), OLD)
            query = old if space.same_as(OLD) else Reference().apply(old)
            try:
                found = gallery.search(query, k=3)
            except SpaceError:
                if attempt == ASKED_AGAIN - 1:
                    raise
                continue  # a switch or a rollback came between the two lines: a client asks again
            self.counts.searches += 1
            if found.ids[0, 0] != ids[0] or abs(found.similarities[0, 0] - 1) > 1e-3:
                self.counts.searches_failed += 1
                self.problems.append(f"search for {ids[0]} found {found.ids[0].tolist()} {found.similarities[0]}")
            return

    def write(self, first: int) -> tuple[dict[str, Space], list[str]]:
        """Add five rows in the space that is live, and delete three old ones: what was added, and what deleted."""
        gallery, added = Gallery.open(self.address), {}
        for number in range(first, first + 5):
            for _ in range(20):
                space = OLD if gallery.active_space.same_as(OLD) else NEW
                try:
                    embeddings, payload = rows_of(number, 1, space)
                    gallery.add(embeddings, payload)
                    added[f"r{number:06d}"] = space
                    break
                except (SpaceError, RowsChanged):
                    continue
                except GalleryError:
                    time.sleep(0.05)
        gone = [f"r{number:06d}" for number in self.rng.choice(ROWS // 2, 3, replace=False)]
        for _ in range(20):
            with contextlib.suppress(GalleryError):
                gallery.delete(gone)
                break
        self.counts.writes_meanwhile += 1
        return added, gone


# --- one run --------------------------------------------------------------------------------------------------------


@dataclass
class Run:
    """One gallery, killed and resumed."""

    place: Place
    number: int
    counts: Counts
    problems: list[str]
    length: float
    pause: float = 0.01

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.number)
        self.goal = GOALS[self.number % len(GOALS)]
        self.fills_disk = self.place.can_fill and self.number % 10 == 7
        self.kills_server = self.place.can_kill and self.number % 10 == 7
        quiet = self.fills_disk or self.kills_server or not self.place.concurrent
        self.writes = self.goal == "upgrade" and self.number % 2 == 0 and not quiet
        self.expected: dict[str, Space] = {}

    def carry_out(self) -> None:
        kills = self.counts.kills
        address = self.place.address(self.number, small=self.fills_disk)
        try:
            embeddings, payload = rows_of(0, ROWS, OLD)
            Gallery.create(address, embeddings, payload, unit_rows=UNIT_ROWS)
            self.expected = dict.fromkeys(embeddings.ids.tolist(), OLD)
            before = digest(Gallery.open(address), "v1")
            with self._application(address) as application:
                self._disturb(address, application)
                self._finish(address)
            self._check(address, before)
            if self.counts.kills > kills:
                self.counts.runs += 1
            else:
                self.counts.finished_before += 1
        finally:
            self.place.remove(address)

    def _application(self, address: str) -> contextlib.AbstractContextManager[Application | None]:
        return Application(address, self.counts, self.problems) if self.place.concurrent else contextlib.nullcontext()

    def _disturb(self, address: str, application: Application | None) -> None:
        if self.fills_disk:
            self._fill_the_disk(address, application)
        if self.kills_server:
            self._kill_the_server(address, application)
        for kill in range(2 if self.number % 4 == 3 else 1):
            worker = Worker(address, self.goal, self.pause)
            moment = self.rng.uniform(0, 0.9 * self.length)
            if self.writes and application and not kill:
                worker.wait_until_ready()
                time.sleep(moment / 2)
                added, gone = application.write(ROWS + 10 * self.number)
                self.expected |= added
                self.expected = {name: space for name, space in self.expected.items() if name not in gone}
                moment /= 2
            if worker.kill_after(moment):
                self.counts.kills += 1
                self.counts.killed_in[worker.last] = self.counts.killed_in.get(worker.last, 0) + 1
            else:
                worker.finish()

    def _fill_the_disk(self, address: str, application: Application | None) -> None:
        self.place.fill()
        code = Worker(address, self.goal, 0).finish()
        self.counts.disks_filled += 1
        if code == 0:
            self.problems.append(f"run {self.number}: the full disk was not noticed")
            self.counts.unfinished += 1
        self.place.free()

    def _kill_the_server(self, address: str, application: Application | None) -> None:
        worker = Worker(address, self.goal, self.pause)
        worker.wait_until_ready()
        time.sleep(self.rng.uniform(0, self.length))
        if application:
            application.paused.set()
            time.sleep(0.2)
        self.place.kill_server()
        self.counts.servers_killed += 1
        worker.finish()
        self.place.start_server()
        if application:
            application.paused.clear()

    def _finish(self, address: str) -> None:
        for _ in range(3):  # a row that comes between check and switch is refused once: the operator starts it again
            worker = Worker(address, self.goal, 0)
            if worker.finish() == 0:
                return
        self.counts.unfinished += 1
        self.problems.append(f"run {self.number} ({self.goal}) does not finish: {worker.errors[-300:]}")

    def _check(self, address: str, before: str) -> None:
        gallery = Gallery.open(address)
        live = NEW if self.goal != "rollback" else OLD
        if not gallery.active_space.same_as(live):
            self.counts.unfinished += 1
            self.problems.append(f"run {self.number}: {gallery.active_column} is live after {self.goal}")
        lost, wrong, changed = compare(gallery, self.expected)
        self.counts.rows_lost += lost
        self.counts.rows_wrong += wrong
        self.counts.payload_changed += changed
        if lost or wrong or changed:
            self.problems.append(f"run {self.number} ({self.goal}): {lost} lost, {wrong} wrong, {changed} payload")
        if self.goal == "rollback":
            self.counts.rollbacks += 1
            self.counts.rollbacks_wrong += digest(gallery, "v1") != before
        elif self.goal == "upgrade" and all(space is OLD for space in self.expected.values()) and not self.writes:
            rollback(gallery)
            self.counts.rollbacks += 1
            self.counts.rollbacks_wrong += digest(gallery, "v1") != before
        else:
            self.counts.finalizes += self.goal == "finalize"


def calibrate(place: Place, pause: float) -> float:
    """Seconds of an undisturbed upgrade that ends with finalize, from its first line on."""
    address = place.address(10**6)
    Gallery.create(address, *rows_of(0, ROWS, OLD), unit_rows=UNIT_ROWS)
    worker = Worker(address, "finalize", pause)
    worker.wait_until_ready()
    began = time.perf_counter()
    code = worker.finish()
    taken = time.perf_counter() - began
    place.remove(address)
    if code:
        raise SystemExit(f"an undisturbed upgrade failed: {worker.errors}")
    return taken


def main(
    *,
    store: Annotated[str, typer.Option(help=f"One of {', '.join(PLACES)}.")] = "lance",
    runs: Annotated[int, typer.Option(help="Upgrades that are killed.")] = 100,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the record here.")] = None,
    worker: Annotated[str, typer.Option(hidden=True)] = "",
    goal: Annotated[str, typer.Option(hidden=True)] = "upgrade",
    pause: Annotated[float, typer.Option(hidden=True)] = 0.01,
) -> None:
    if worker:
        try:
            work(worker, goal, pause)
        except BictError as error:
            raise SystemExit(f"refused: {error}") from None
        return
    if store not in PLACES:
        raise SystemExit(f"unknown store {store!r}: one of {', '.join(PLACES)}")
    counts, problems = Counts(), []
    with contextlib.closing(PLACES[store]()) as place, Progress(console=Console(stderr=True)) as progress:
        length = min(calibrate(place, pause) for _ in range(3))
        task = progress.add_task(f"{store} runs", total=runs)
        for number in range(MOST_TRIES * runs):
            if counts.runs == runs:
                break
            Run(place, number, counts, problems, length, pause).carry_out()
            progress.update(task, completed=counts.runs)
    show(counts, f"{store}: {ROWS:,} rows, an undisturbed upgrade takes {length:.1f} s")
    for problem in problems[:20]:
        Console().print(problem, style="red")
    if json_file:
        record = {
            "benchmark": "chaos",
            "command": f"python benchmarks/chaos.py --store {store} --runs {runs}",
            "store": store,
            "rows": ROWS,
            "seconds_undisturbed": length,
            **asdict(counts),
            "cores": os.cpu_count(),
            "versions": {name: version(name) for name in ("bict", "pylance", "psycopg", "qdrant-client", "numpy")}
            | {"python": platform.python_version()},
        }
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(record, indent=2) + "\n")
    if counts.runs < runs or any(getattr(counts, name) for name in BAD):
        raise SystemExit(1)


if __name__ == "__main__":
    typer.run(main)
