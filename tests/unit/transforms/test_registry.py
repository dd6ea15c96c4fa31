from __future__ import annotations

import pytest

from bict.errors import UnknownName
from bict.transforms import RUNGS, ResidualMLP, build_rung


def test_names_are_the_rungs_own_simplest_first():
    assert list(RUNGS) == [
        *("identity", "procrustes", "lambda-orthogonal", "low-rank", "ridge"),
        *("drift-mlp", "mlp", "fct", "fastfill", "head"),
    ]
    assert all(rung.name == name for name, rung in RUNGS.items())


def test_seed_goes_to_the_rungs_that_have_one_and_settings_win():
    assert build_rung("mlp", seed=4).settings()["seed"] == 4
    assert build_rung("mlp", {"seed": 9, "epochs": 2}, seed=4).settings() == ResidualMLP(seed=9, epochs=2).settings()
    assert build_rung("procrustes", seed=4).settings() == {"centred": False}


def test_unknown_names():
    with pytest.raises(UnknownName, match="did you mean 'ridge'"):
        build_rung("rigde")
    with pytest.raises(UnknownName, match=r"setting of mlp 'epoch': did you mean 'epochs'"):
        build_rung("mlp", {"epoch": 3})
