"""The `bict` command: parse, call the library function of the same name, print."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import typer
from pydantic import ValidationError

import bict
from bict.cli import show
from bict.cli.command import Function, command, summary
from bict.cli.memory import few_arenas
from bict.errors import BictError

INTERRUPTED = 130
STOPPED = "interrupted: nothing half-done is in use, give the same command again (train: with --resume)"


@dataclass(frozen=True)
class Entry:
    """A command: the module of its function, its line in the overview, and calls that show how it is used."""

    module: str
    line: str
    examples: tuple[str, ...]


COMMANDS = {
    "demo": Entry(
        "bict.experiments.demo",
        "The whole upgrade on real images, with a report.",
        ("bict demo", "bict demo --data omniglot --data-root data --out runs/omniglot"),
    ),
    "train": Entry(
        "bict.workflow.train",
        "Images to a model, alone or backward compatible.",
        (
            "bict train --data photos:old-train --backbone conv-small --out old",
            "bict train --data photos --compatible-with old --out new",
        ),
    ),
    "embed": Entry(
        "bict.workflow.embed",
        "Images to a gallery of vectors, or to a file.",
        ("bict embed old photos:gallery --to gallery", "bict embed new photos:query --to queries.parquet"),
    ),
    "assess": Entry(
        "bict.workflow.assess",
        "Two files of vectors to a verdict; writes to no gallery.",
        (
            "bict assess --old old.parquet --new new.parquet",
            "bict assess --old old.npz --new new.npz --min-recovered 0.4 --max-negative-flips 0.05",
            "bict assess --old old.parquet --new new.parquet --threshold 0.62",
        ),
    ),
    "fit": Entry(
        "bict.workflow.fit",
        "Two models, or two files of vectors, to a transform.",
        (
            "bict fit --old old --new new --data photos --out psi",
            "bict fit --old old.parquet --new new.parquet --out psi",
            "bict fit --old old.parquet --new new.parquet --rung bridge-mlp --out bridge",
        ),
    ),
    "doubtful": Entry(
        "bict.workflow.doubtful",
        "Which upgraded vectors to trust least, to embed again first.",
        (
            "bict gallery export gallery --to stored.parquet",
            "bict doubtful psi stored.parquet --out doubtful.csv --share 0.1",
        ),
    ),
    "upgrade": Entry(
        "bict.workflow.upgrade",
        "Stored old vectors to upgraded ones, no image read.",
        (
            "bict upgrade gallery psi",
            "bict upgrade gallery psi --engine ray --address auto",
            "bict upgrade plan gallery psi",
            "bict upgrade status gallery",
        ),
    ),
    "gallery": Entry("", "Show, adopt, import, export or erase stored vectors.", ()),
    "search": Entry(
        "bict.workflow.search",
        "Query images to the nearest gallery items.",
        ("bict search gallery photo.jpg --model new --k 5",),
    ),
    "evaluate": Entry(
        "bict.workflow.evaluate",
        "How well queries find the stored vectors.",
        (
            "bict evaluate gallery --model new --data photos:query",
            "bict evaluate gallery --data queries.parquet --column v1",
        ),
    ),
    "benchmark": Entry(
        "bict.workflow.benchmark",
        "Landmark and face benchmarks, by their own protocols.",
        (
            "bict benchmark roxford --model new --data-root landmarks",
            "bict benchmark roxford --model new --gallery-model old --transform psi --data-root landmarks",
            "bict benchmark faces --model new --pairs pairs.csv --data-root faces",
        ),
    ),
    "experiment": Entry("", "Compare methods in scenarios, on the same data and protocol.", ()),
    "report": Entry(
        "bict.workflow.report", "The page of a run, made again from its record.", ("bict report runs/demo",)
    ),
}


LIFECYCLE = "bict.workflow.lifecycle"
GALLERY = "bict.workflow.gallery"
EXPERIMENT = "bict.experiments.experiment"
STEPS = {
    "upgrade": {
        "plan": Entry(
            LIFECYCLE,
            "What an upgrade would write; writes nothing.",
            ("bict upgrade plan gallery psi", "bict upgrade plan gallery psi --rows 1e9 --workers 64"),
        ),
        "run": Entry(
            LIFECYCLE, "Stage the upgraded vectors, or go on staging.", ("bict upgrade run gallery psi --expect 3fa1",)
        ),
        "status": Entry(LIFECYCLE, "How far an upgrade is.", ("bict upgrade status gallery --json",)),
        "verify": Entry(LIFECYCLE, "Check the staged vectors.", ("bict upgrade verify gallery psi",)),
        "index": Entry(LIFECYCLE, "Build the index of the staged vectors.", ("bict upgrade index gallery",)),
        "switch": Entry(LIFECYCLE, "Search the staged vectors from now on.", ("bict upgrade switch gallery",)),
        "rollback": Entry(LIFECYCLE, "Search the vectors from before again.", ("bict upgrade rollback gallery",)),
        "discard": Entry(LIFECYCLE, "Give up the staged vectors.", ("bict upgrade discard gallery",)),
        "finalize": Entry(LIFECYCLE, "Remove the vectors kept from before.", ("bict upgrade finalize gallery --yes",)),
    },
    "gallery": {
        "info": Entry(GALLERY, "Rows, spaces and where vectors come from.", ("bict gallery info gallery",)),
        "adopt": Entry(
            GALLERY,
            "Make a gallery of an existing table.",
            (
                "bict gallery adopt 'db?table=photos' --vector-column embedding --space old",
                "bict gallery adopt 'postgresql://me@host/shop?table=photos' --vector-column embedding --space old",
            ),
        ),
        "import": Entry(
            GALLERY, "Fill a gallery from a file.", ("bict gallery import vectors.parquet --to gallery --space old",)
        ),
        "export": Entry(GALLERY, "Write a gallery to a file.", ("bict gallery export gallery --to vectors.parquet",)),
        "delete": Entry(GALLERY, "Erase rows everywhere.", ("bict gallery delete gallery id-1 id-2",)),
    },
    "experiment": {
        "list": Entry(EXPERIMENT, "Scenarios and methods there are.", ("bict experiment list",)),
        "run": Entry(
            EXPERIMENT,
            "Methods in a scenario.",
            (
                "bict experiment run extended-class --quick",
                "bict experiment run extended-class --data omniglot --data-root data --seeds 0,1,2",
                "bict experiment run extended-class --methods influence@0,influence@1,influence@10",
            ),
        ),
        "report": Entry(EXPERIMENT, "A page of the records.", ("bict experiment report runs/experiments",)),
    },
}
"""Commands below a command; `upgrade` is also a command by itself."""


def build_app(words: Sequence[str] = ()) -> typer.Typer:
    """The commands in the order of an upgrade; only the one that is called loads what it needs.

    So the overview answers at once, and an upgrade does not even load the code that could read an image.
    """
    app = typer.Typer(
        name="bict",
        help="Upgrade the embedding model of an image-retrieval system without touching a single gallery image.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_version)
    called, below = (*[word for word in words if not word.startswith("-")], "", "")[:2]
    for name, entry in COMMANDS.items():
        group = STEPS.get(name, {})
        if name == called and (below in group or not entry.module):
            app.add_typer(_group(entry, group, below), name=name)
        elif name == called:
            _register(app, name, name, entry, getattr(importlib.import_module(entry.module), name), group)
        else:
            app.command(name, short_help=entry.line)(_not_called)
    return app


def _group(entry: Entry, group: dict[str, Entry], called: str) -> typer.Typer:
    """The commands below a command."""
    app = typer.Typer(help=entry.line, no_args_is_help=True, rich_markup_mode=None)
    for name, step in group.items():
        if name == called:
            module = importlib.import_module(step.module)
            function = getattr(module, f"{name}_", None) or getattr(module, name)
            shown_by = "step" if step.module == LIFECYCLE else f"{step.module.rsplit('.', 1)[1]}_{name}"
            _register(app, name, shown_by, step, function, {})
        else:
            app.command(name, short_help=step.line)(_not_called)
    return app


def _register(
    app: typer.Typer, name: str, shown_by: str, entry: Entry, function: Function, steps: dict[str, Entry]
) -> None:
    examples = "".join(f"\b\n  {line}\n\n" for line in entry.examples)
    below = "".join(f"\b\n  bict {name} {step:<9} {about.line}\n\n" for step, about in steps.items())
    text = f"{summary(function)}\n\nExamples:\n\n{examples}" + (f"Steps:\n\n{below}" if below else "")
    app.command(name, help=text, short_help=entry.line)(command(function, getattr(show, shown_by)))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every refusal is one line on stderr and an exit code: 1 refused, 2 usage."""
    few_arenas()
    try:
        words = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
        words = [*words, "--help"] if words in (["gallery"], ["experiment"]) else words
        code = typer.main.get_command(build_app(words)).main(words, prog_name="bict", standalone_mode=False)
        if code == INTERRUPTED:  # typer's own answer to Ctrl-C
            _refuse(STOPPED, code)
    except BictError as error:
        code = _refuse(str(error), error.exit_code)
    except ValidationError as error:
        problem = error.errors()[0]
        code = _refuse(f"{'.'.join(map(str, problem['loc']))} {problem['input']}: {problem['msg'].lower()}", 2)
    except typer.TyperException as error:
        code = _refuse(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = _refuse(STOPPED, INTERRUPTED)
    except OSError as error:
        where = error.filename or "a file of this command"
        code = _refuse(f"{where}: {error.strerror or error}: free the disk or mend its permissions, run it again", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str, code: int) -> int:
    typer.echo("bict: " + " ".join(message.split()), err=True)
    return code


def _not_called() -> None:
    """Stand in the overview."""


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(bict.__version__)
        raise typer.Exit


def _version(
    version: bool = typer.Option(False, "--version", is_eager=True, help="print the version", callback=_print_version),
) -> None:
    del version
