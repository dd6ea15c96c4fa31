"""Training as a guest in a process, and in several processes at once."""

from __future__ import annotations

import json

import pytest
import torch

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
from pathlib import Path
import numpy as np
from bict.models import Model
from bict.training import train_model

images, out = here["patterns"](8, 12), Path(sys.argv[1])
options = {"backbone": "timm:test_convnext", "size": 32, "backward_loss": "influence", "augment": False}
settings = here["small_settings"](**options)
calls = []
model = train_model(images, settings, out, compatible_with=Model.load(sys.argv[2]), progress=lambda *c: calls.append(c))
from accelerate.state import PartialState
rank = PartialState().process_index
Path(sys.argv[3], f"rank{rank}.json").write_text(__import__("json").dumps(
    {"calls": len(calls), "fingerprint": model.space.fingerprint, "processes": PartialState().num_processes}))
"""


def test_importing_it_changes_nothing(start_program):
    process = start_program(IMPORT.replace("import json", "del here\nimport json", 1))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert json.loads(output) == {}
    assert errors == ""


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(start_program, images, settings, old_model, tmp_path):
    options = {"backbone": "timm:test_convnext", "size": 32, "augment": False}  # layer normalisation: no batch statistics
    train_model(images, settings(**options), tmp_path / "one", compatible_with=old_model)
    old_model.save(tmp_path / "old")
    (tmp_path / "ranks").mkdir()
    flags = ("--cpu", "--num_processes", "2", "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no")
    launcher = ("-m", "accelerate.commands.launch", *flags, "--main_process_port", "0")
    process = start_program(TOGETHER, tmp_path / "two", tmp_path / "old", tmp_path / "ranks", launcher=launcher)
    _, errors = process.communicate(timeout=240)
    assert process.returncode == 0, errors
    ranks = [json.loads((tmp_path / "ranks" / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    assert [rank["processes"] for rank in ranks] == [2, 2]
    assert [rank["calls"] for rank in ranks] == [9, 0]  # one process tells how far it is
    assert {rank["fingerprint"] for rank in ranks} == {Model.load(tmp_path / "two").space.fingerprint}
    assert {path.name for path in (tmp_path / "two").iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    one, two = (json.loads((tmp_path / name / HISTORY).read_text()) for name in ("one", "two"))
    for here, there in zip(one, two, strict=True):
        assert {key: here[key] for key in ("loss", "classification", "backward")} == pytest.approx(
            {key: there[key] for key in ("loss", "classification", "backward")}, rel=1e-3
        )
