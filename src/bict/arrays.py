"""Arrays in an `.npz` file, read without pickles, whatever state the file is in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of an `.npz` file by name.

    Raises:
        OSError: the file is absent or may not be read.
        ValueError: it is no archive of arrays, is damaged, or holds pickled objects.
    """
    try:
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except OSError:
        raise
    except Exception as error:  # a damaged archive fails in as many ways as zip, zlib and npy have parts
        raise ValueError(f"no readable archive of arrays ({type(error).__name__})") from error
