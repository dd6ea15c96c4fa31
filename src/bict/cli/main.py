"""The `bict` command: parse, call the library function of the same name, print."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import typer

import bict
from bict.cli import show
from bict.cli.command import command, summary
from bict.errors import BictError

INTERRUPTED = 130
STOPPED = "interrupted: what was finished is kept; the same command goes on (train: with --resume)"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "demo": ("bict demo", "bict demo --data omniglot --data-root ../shared/data --out runs/omniglot"),
    "train": (
        "bict train --data omniglot:old-train --backbone conv-small --out runs/old",
        "bict train --data omniglot --compatible-with runs/old --out runs/new",
    ),
    "embed": (
        "bict embed runs/old omniglot:gallery --to runs/gallery",
        "bict embed runs/new omniglot:query --to runs/queries.parquet",
    ),
    "fit": ("bict fit --old runs/old --new runs/new --data omniglot --out runs/psi",),
    "upgrade": ("bict upgrade runs/gallery runs/psi",),
    "search": ("bict search runs/gallery photo.jpg --model runs/new --k 5",),
    "evaluate": (
        "bict evaluate runs/gallery --model runs/new --data omniglot:query",
        "bict evaluate runs/gallery --data runs/queries.parquet --column v1",
    ),
    "report": ("bict report runs/demo",),
}


def build_app() -> typer.Typer:
    """All commands, in the order of an upgrade."""
    from bict import experiments, workflow  # noqa: PLC0415  (loads torch, after --help of a wrong call was answered)

    app = typer.Typer(
        name="bict",
        help="Upgrade the embedding model of an image-retrieval system without touching a single gallery image.",
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
    )
    app.callback()(_version)
    for name, examples in EXAMPLES.items():
        function: Callable[..., Any] = experiments.demo if name == "demo" else getattr(workflow, name)
        text = summary(function) + "\n\nExamples:\n\n" + "".join(f"\b\n  {line}\n" for line in examples)
        app.command(name, help=text)(command(function, getattr(show, name)))
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; every refusal is one line on stderr and an exit code: 1 refused, 2 usage."""
    try:
        code = typer.main.get_command(build_app()).main(arguments, prog_name="bict", standalone_mode=False)
    except BictError as error:
        code = _refuse(str(error), error.exit_code)
    except typer.TyperException as error:
        code = _refuse(error.format_message(), error.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        code = _refuse(STOPPED, INTERRUPTED)
    except OSError as error:
        code = _refuse(f"{error.filename or 'file'}: {error.strerror or error}", 1)
    sys.exit(code if isinstance(code, int) else 0)


def _refuse(message: str, code: int) -> int:
    typer.echo("bict: " + " ".join(message.split()), err=True)
    return code


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(bict.__version__)
        raise typer.Exit


def _version(
    version: bool = typer.Option(False, "--version", is_eager=True, help="print the version", callback=_print_version),
) -> None:
    del version
