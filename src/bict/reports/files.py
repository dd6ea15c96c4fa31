"""Files of a run: written in one step, read strictly."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from bict.errors import RunError

Model = TypeVar("Model", bound=BaseModel)


def write_text(text: str, path: str | Path) -> Path:
    """Write a UTF-8 file so that a reader sees the old content or all of the new, never a part.

    Raises:
        RunError: the folder cannot be made or written.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    return path


def save_model(model: BaseModel, path: str | Path) -> Path:
    """Write a pydantic model as indented JSON under its aliases; NaN and infinity become null.

    Raises:
        RunError: the file cannot be written.
    """
    return write_text(model.model_dump_json(by_alias=True, indent=2) + "\n", path)


def load_model(kind: type[Model], path: str | Path, schema: int) -> Model:
    """Read a JSON file of the given schema number, keys and types taken strictly.

    Raises:
        RunError: no such file, no JSON (also when cut off), another schema, or a key or value that does not belong.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text)
    except OSError as error:
        raise RunError(f"cannot read {path}: {error.strerror or error}") from error
    except ValueError as error:
        raise RunError(f"{path} is no complete JSON file ({error}): run the command that makes it again") from error
    found = content.get("schema") if isinstance(content, dict) else None
    if type(found) is not int or found != schema:
        raise RunError(f"{path} has schema {found!r}, this version of bict reads {schema}: use the bict that wrote it")
    try:
        return kind.model_validate_json(text, strict=True, by_alias=True, by_name=False)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise RunError(f"{path} is no valid {kind.__name__}: {where}: {first['msg']}") from error
