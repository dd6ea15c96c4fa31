"""A command from a library function, whose signature, defaults and docstring are written only there."""

from __future__ import annotations

import functools
import inspect
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import PydanticUndefined

from bict.cli.progress import terminal_steps
from bict.errors import SettingsError, UnknownName

HIDDEN = {"progress", "steps", "confirm"}
Function = Callable[..., Any]


def command(function: Function, show: Callable[[Any, bool], None]) -> Function:
    """The function as a typer command: positional parameters become arguments, keyword-only ones options.

    A parameter that is a settings model becomes one option per field. `--config FILE.yaml` sets options by name, the
    command line wins over it. `show(result, as_json)` prints what the function returns.
    """
    hints = typing.get_type_hints(function)
    options = _parameters(function, hints)
    required = _required_options(function)
    models = {name: hint for name, hint in hints.items() if name != "return" and _is_model(hint)}

    @functools.wraps(function)
    def run(context: typer.Context, config: Path | None, json: bool, **values: Any) -> None:  # noqa: ANN401
        values = _with_config(context, config, values, {**hints, **_field_hints(models)})
        _require(values, required)
        for name, model in models.items():
            fields = {field: values.pop(field) for field in model.model_fields}
            values[name] = validated(model, fields)
        if "confirm" in hints:
            values["confirm"] = ask
        result = _call(function, values, hints)
        show(result, json)
        if getattr(result, "passed", True) is False:
            raise typer.Exit(1)

    extra = [
        _option("config", Path | None, None, "YAML file with values for these options, by their names"),
        _option("json", bool, False, "print the result as JSON"),
    ]
    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.Signature([context, *_required_first([*options, *extra])])
    run.__signature__ = signature  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
    del run.__wrapped__
    return run


def _call(function: Function, values: dict[str, Any], hints: dict[str, Any]) -> Any:  # noqa: ANN401
    """Call with progress bars where the function tells its progress; a question comes before any bar."""
    if not {"steps", "progress"} & set(hints):
        return function(**values)
    with terminal_steps(at_once="steps" in hints and "confirm" not in hints) as steps:
        if "steps" in hints:
            return function(**values, steps=steps)
        with steps(function.__name__.strip("_")) as progress:
            return function(**values, progress=progress)


def ask(question: str) -> bool:
    """Ask on the terminal.

    Raises:
        SettingsError: there is no terminal to ask in.
    """
    if not sys.stdin.isatty():
        raise SettingsError(f"{question} There is no terminal to ask in: add --yes")
    return typer.confirm(question, err=True)


def validated(model: type[BaseModel], values: dict[str, Any]) -> BaseModel:
    """A settings model from option values.

    Raises:
        SettingsError: a value out of its limits.
    """
    try:
        return model.model_validate(values)
    except ValueError as error:
        problem = error.errors()[0]  # type: ignore[attr-defined]
        option = "--" + str(problem["loc"][0]).replace("_", "-")
        raise SettingsError(f"{option} {problem['input']}: {problem['msg'].lower()}") from error


def summary(function: Function) -> str:
    """The text of a docstring above its sections."""
    return re.split(r"\n\s*(?:Args|Raises):", inspect.getdoc(function) or "")[0].strip()


def _parameters(function: Function, hints: dict[str, Any]) -> list[inspect.Parameter]:
    helps = _argument_texts(function)
    found: list[inspect.Parameter] = []
    hints = {name: _typeable(hint) for name, hint in hints.items()}
    for name, parameter in inspect.signature(function).parameters.items():
        if name in HIDDEN:
            continue
        if _is_model(hints[name]):
            found += [_field_option(field, info) for field, info in hints[name].model_fields.items()]
        elif parameter.kind is inspect.Parameter.KEYWORD_ONLY:
            default = ... if parameter.default is inspect.Parameter.empty else parameter.default
            found.append(_option(name, hints[name], default, helps.get(name, "")))
        else:
            found.append(_argument(name, hints[name], parameter.default, helps.get(name, "")))
    return found


def _typeable(hint: Any) -> Any:  # noqa: ANN401
    """Of a path or what a program holds in memory, such as `Path | Embeddings`, the path."""
    kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
    return Path if len(kinds) > 1 and Path in kinds else hint


def _field_option(name: str, info: Any) -> inspect.Parameter:  # noqa: ANN401
    default = ... if info.default is PydanticUndefined else info.default
    return _option(name, info.annotation, default, info.description or "")


def _option(name: str, hint: Any, default: Any, text: str) -> inspect.Parameter:  # noqa: ANN401
    flag = _flag(name)
    if default is ...:  # may also come from the config file, so it is asked for after that was read
        hint, default, text = hint | None, None, f"{text} [required]"
    flags = [f"{flag}/--no-{name.replace('_', '-')}"] if hint is bool and default is True else [flag]
    annotation = Annotated[hint, typer.Option(*flags, help=text, show_default=default not in (None, False))]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _argument(name: str, hint: Any, default: Any, text: str) -> inspect.Parameter:  # noqa: ANN401
    several = any(typing.get_origin(part) is list for part in (hint, *typing.get_args(hint)))
    metavar = name.upper().removesuffix("S") + "..." if several else name.upper()
    annotation = Annotated[hint, typer.Argument(help=text, metavar=metavar, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _required_first(parameters: list[inspect.Parameter]) -> list[inspect.Parameter]:
    return sorted(parameters, key=lambda parameter: parameter.default is not inspect.Parameter.empty)


def _argument_texts(function: Function) -> dict[str, str]:
    """Descriptions from the Args section of a docstring, by parameter."""
    section = re.search(r"Args:\n(.*?)(?:\n\n|\Z)", inspect.getdoc(function) or "", re.DOTALL)
    entries = re.split(r"\n    (?=\w+: )", "\n" + section.group(1)) if section else []
    pairs = (entry.split(": ", 1) for entry in entries if ": " in entry)
    return {name.strip(): " ".join(text.split()) for name, text in pairs}


def _is_model(hint: Any) -> bool:  # noqa: ANN401
    return isinstance(hint, type) and issubclass(hint, BaseModel)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _required_options(function: Function) -> list[str]:
    parameters = inspect.signature(function).parameters.values()
    return [
        parameter.name
        for parameter in parameters
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY and parameter.default is inspect.Parameter.empty
    ]


def _field_hints(models: dict[str, type[BaseModel]]) -> dict[str, Any]:
    return {name: info.annotation for model in models.values() for name, info in model.model_fields.items()}


def _require(values: dict[str, Any], required: list[str]) -> None:
    missing = [_flag(name) for name in required if values.get(name) is None]
    if missing:
        raise SettingsError(f"missing {', '.join(missing)}: give it on the command line or in the --config file")


def _with_config(
    context: typer.Context, path: Path | None, values: dict[str, Any], hints: dict[str, Any]
) -> dict[str, Any]:
    """Values of a YAML file where the command line gives none."""
    if path is None:
        return values
    try:
        content = yaml.safe_load(path.read_text()) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} cannot be read as YAML: {str(error).splitlines()[0]}") from error
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold `name: value` lines")
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in values:
            raise UnknownName(f"key in {path}", str(key), [known.replace("_", "-") for known in values])
        source = context.get_parameter_source(name)
        if source is None or source.name != "COMMANDLINE":
            values[name] = _typed(value, hints[name], str(key), path)
    return values


def _typed(value: Any, hint: Any, key: str, path: Path) -> Any:  # noqa: ANN401
    """A YAML value in the type the option has."""
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as error:
        raise SettingsError(f"{key} in {path}: {value!r}, {error.errors()[0]['msg'].lower()}") from error
