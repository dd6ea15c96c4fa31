"""The public surface is what `__all__` says, and importing it costs and changes nothing."""

from __future__ import annotations

import inspect
import subprocess
import sys

import bict


def test_all_is_sorted_and_every_name_is_there():
    assert list(bict.__all__) == sorted(bict.__all__)
    for name in bict.__all__:
        assert getattr(bict, name) is not None
    assert set(dir(bict)) == {*bict.__all__, "__version__"}


def test_public_names_are_documented():
    for name in bict.__all__:
        thing = getattr(bict, name)
        assert (inspect.getdoc(thing) or "").strip()
        if inspect.isfunction(thing):
            assert "Raises:" in thing.__doc__
            assert all(
                parameter.annotation is not parameter.empty
                for parameter in inspect.signature(thing).parameters.values()
            )


def test_importing_loads_neither_torch_nor_lance_and_starts_nothing():
    code = (
        "import sys, threading, logging, bict;"
        "assert not {'torch', 'lance', 'lancedb', 'matplotlib', 'timm'} & set(sys.modules);"
        "assert threading.active_count() == 1 and not logging.getLogger().handlers"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_upgrade_does_not_load_the_code_that_reads_images():
    code = (
        "import sys; from bict.workflow.upgrade import upgrade;"
        "readers = ('bict.data', 'bict.models', 'PIL', 'torchvision');"
        "assert not [name for name in sys.modules if name.startswith(readers)]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_version_is_the_packages():
    from importlib.metadata import version  # noqa: PLC0415

    assert bict.__version__ == version("bict")
