"""Training as a guest in a process, and in several processes at once."""

from __future__ import annotations

import json

import pytest

from bict.models import Model
from bict.training import train_model
from bict.training.train import HISTORY

IMPORT = """
import json, logging, os, random, threading, torch, accelerate
from accelerate.state import PartialState

def state():
    return {
        "threads": threading.active_count(),
        "torch threads": torch.get_num_threads(),
        "random": hash(bytes(torch.random.get_rng_state().tolist())),
        "python random": hash(random.getstate()),
        "handlers": len(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "environment": dict(os.environ),
        "accelerate": sorted(PartialState._shared_state),
        "files": os.listdir(),
        "default type": str(torch.get_default_dtype()),
        "grad": torch.is_grad_enabled(),
    }

before = state()
import bict.training, bict.training.pairs
after = state()
print(json.dumps({name: [before[name], after[name]] for name in before if before[name] != after[name]}))
"""

TOGETHER = """
import json, os, runpy, sys
from dataclasses import replace
from pathlib import Path
from accelerate.state import PartialState
from bict.models import Model
from bict.training import train_model

os.environ["ACCELERATE_USE_CPU"] = "true"  # as `accelerate launch --cpu` does
here = runpy.run_path(sys.argv[1])
old, out, ranks, values = sys.argv[2:]
calls, reads = [], []

class Decoded:
    "The same pixels, as photos that are decoded: what was read once is kept in memory."

    channels, own_size = 1, here["SIDE"]

    def __init__(self, source):
        self.source = source

    def read(self, rows, size, channels):
        reads.extend(rows.tolist())
        return self.source.read(rows, size, channels)

images = here["patterns"](8, 12)
model = train_model(
    replace(images, source=Decoded(images.source)),
    here["small_settings"](backbone="timm:test_convnext", size=32, **json.loads(values)),
    Path(out),
    compatible_with=Model.load(old),
    progress=lambda *call: calls.append(call),
)
state = PartialState()
result = {"calls": len(calls), "reads": reads, "fingerprint": model.space.fingerprint, "processes": state.num_processes}
Path(ranks, f"rank{state.process_index}.json").write_text(json.dumps(result))
"""
LOSSES = ("loss", "classification", "backward")


@pytest.mark.slow
def test_importing_it_changes_nothing(start_program):
    process = start_program(IMPORT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(output) == {}
    assert errors == ""


@pytest.mark.slow
@pytest.mark.parametrize("values", [{"backward_loss": "influence"}, {}], ids=["influence", "weights of its own"])
def test_two_processes_learn_what_one_learns(start_program, images, settings, old_model, values, tmp_path):
    """With a backbone of layer normalisation, which sees one image at a time, and without augmentation."""
    options = settings(backbone="timm:test_convnext", size=32, **values)
    train_model(images, options, tmp_path / "one", compatible_with=old_model)
    old_model.save(tmp_path / "old")
    (tmp_path / "ranks").mkdir()
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    process = start_program(
        TOGETHER, tmp_path / "old", tmp_path / "two", tmp_path / "ranks", json.dumps(values), launcher=launcher
    )
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    ranks = [json.loads((tmp_path / "ranks" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["processes"] for rank in ranks] == [2, 2]
    assert [rank["calls"] for rank in ranks] == [9, 0]  # one process tells how far it is
    for rank in ranks:  # the old model reads each row once, at its own size; training decodes none twice
        assert max(rank["reads"].count(row) for row in range(96)) <= 2
    assert {rank["fingerprint"] for rank in ranks} == {Model.load(tmp_path / "two").space.fingerprint}
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    one, two = (json.loads((tmp_path / name / HISTORY).read_text()) for name in ("one", "two"))
    for here, there in zip(one, two, strict=True):
        assert [here[key] for key in LOSSES] == pytest.approx([there[key] for key in LOSSES], rel=1e-3)
