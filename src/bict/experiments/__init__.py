"""Whole upgrades as experiments: the demo."""

from bict.experiments.demo import demo
from bict.experiments.plan import RunPlan, demo_plan
from bict.experiments.run import run_upgrade

__all__ = ["RunPlan", "demo", "demo_plan", "run_upgrade"]
