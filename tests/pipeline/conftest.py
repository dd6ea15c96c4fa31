"""One finished upgrade on a small folder of pictures, made by the commands a user types."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from bict.cli.main import main

SMALL = ("--backbone", "conv-small", "--dim", "16", "--size", "32", "--epochs", "6", "--batch-size", "32")
Bict = Callable[..., int]


def run(*arguments: object) -> int:
    """The exit code of a `bict` command line."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@dataclass(frozen=True)
class Flow:
    """Paths of an upgrade that has been prepared but not carried out."""

    photos: Path
    root: Path

    @property
    def old(self) -> Path:
        return self.root / "old"

    @property
    def new(self) -> Path:
        return self.root / "new"

    @property
    def transform(self) -> Path:
        return self.root / "psi"

    def make_gallery(self, path: Path) -> Path:
        assert run("embed", self.old, f"{self.photos}:gallery", "--to", path) == 0
        return path


@pytest.fixture(scope="session")
def flow(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Flow:
    """Old model, backward-compatible new model and forward transform."""
    made = Flow(photos, tmp_path_factory.mktemp("flow"))
    assert run("train", "--data", f"{photos}:old-train,old-share=.5", *SMALL, "--out", made.old) == 0
    compatible = ("--compatible-with", made.old, "--seed", 1)
    assert run("train", "--data", photos, *SMALL, *compatible, "--out", made.new) == 0
    fit = ("--old", made.old, "--new", made.new, "--data", photos, "--views", 2, "--epochs", 3, "--out", made.transform)
    assert run("fit", *fit) == 0
    return made


@pytest.fixture
def bict() -> Bict:
    """Runs a command line in this process."""
    return run


@pytest.fixture
def bict_command() -> Bict:
    """Runs a command line in this process, where the package itself is called bict."""
    return run
