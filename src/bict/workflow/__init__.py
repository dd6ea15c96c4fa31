"""The verbs: each joins the rooms into one step of an upgrade, on files, and is a command of the same name."""

from bict.workflow.embed import embed
from bict.workflow.evaluate import evaluate
from bict.workflow.fit import fit
from bict.workflow.report import report
from bict.workflow.search import search
from bict.workflow.train import train
from bict.workflow.upgrade import upgrade

__all__ = ["embed", "evaluate", "fit", "report", "search", "train", "upgrade"]
