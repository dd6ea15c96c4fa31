"""Every refusal of bict is one of these, with a one-line message: found, expected, cure.

BictError
├── UnknownName        a key, flag value or name nobody registered (names the nearest valid one)
├── SettingsError      a value of the right name that cannot be used
├── DataError          images, manifests and splits that cannot be used
├── VectorError        NaN, infinite, zero or duplicate rows, wrong shapes
├── SpaceError         vectors of spaces that may not be compared, or a transform in the wrong direction
├── ModelError         a model directory that is missing, incomplete or altered
├── TransformError     a transform directory that is missing, incomplete or altered, or that cannot be fitted
├── GalleryError       an address that is no gallery, or a gallery in the wrong state
│   ├── MissingGallery an address where nothing is
│   └── RowsChanged    rows that another process changed or deleted while they were read
├── RunError           an output directory that is not writable, unfinished, or holds another configuration
├── EngineError        a place where work runs that cannot be reached, or that lost its workers too often
├── PrivacyError       an upgrade tried to open a file or socket outside its boundary
└── MissingExtra       an optional dependency is absent (names the install line)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BictError(Exception):
    """Base of every refusal; `exit_code` is what the command line returns for it."""

    exit_code = 1


class UnknownName(BictError):
    """A key, flag value or name that is not registered."""

    exit_code = 2

    def __init__(self, what: str, found: str, valid: Iterable[str]) -> None:
        valid = tuple(valid)
        self.arguments = (what, found, valid)
        choices = sorted(valid)
        near = difflib.get_close_matches(found, choices, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else "valid:"
        super().__init__(f"unknown {what} {found!r}: {hint} ({', '.join(choices)})")

    def __reduce__(self) -> tuple[type[UnknownName], tuple[str, str, tuple[str, ...]]]:
        return UnknownName, self.arguments


class SettingsError(BictError):
    """A setting whose value cannot be used."""

    exit_code = 2


class DataError(BictError):
    """Images, manifests or splits that cannot be used."""


class VectorError(BictError):
    """Vectors that are not finite, are zero, repeat an id, or have the wrong shape."""


class SpaceError(BictError):
    """Vectors of spaces that may not be compared, or a transform applied in the wrong direction."""


class ModelError(BictError):
    """A model directory that is missing, incomplete or altered."""


class TransformError(BictError):
    """A transform that is missing, incomplete, altered or cannot be fitted."""


class GalleryError(BictError):
    """An address that is no gallery, or a gallery in the wrong state for the command."""


class MissingGallery(GalleryError):
    """An address at which there is no table yet."""


class RowsChanged(GalleryError):
    """Rows were changed or deleted by another process while they were read; reading again finds what is there now."""


class RunError(BictError):
    """An output directory that is not writable, unfinished, or holds another configuration."""


class EngineError(BictError):
    """A cluster that cannot be reached, or workers that died too often over the same work."""


class PrivacyError(BictError):
    """An upgrade tried to open a file or socket outside its boundary."""


class MissingExtra(BictError):
    """An optional dependency is absent."""

    exit_code = 2

    def __init__(self, package: str, extra: str) -> None:
        self.arguments = (package, extra)
        super().__init__(f"{package} is not installed: pip install 'bict[{extra}]'")

    def __reduce__(self) -> tuple[type[MissingExtra], tuple[str, str]]:
        return MissingExtra, self.arguments
