"""From a command line to settings, what every app's flags have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser
from knotwork_search import RunFolder


def parse(parser: ArgumentParser, arguments: Sequence[str] | None) -> dict[str, Any]:
    """The values of a parser's flags by name.

    Raises:
        ValueError: an unknown flag or key, or a value of another type.
    """
    try:
        given = vars(parser.parse_args(list(arguments) if arguments is not None else None))
    except ArgumentError as error:
        raise ValueError(f"{error}. See --help") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--config names a file that is not text: {error}") from error
    given.pop("config", None)
    return given


def resumed(given: Mapping[str, Any], flags_class: type[Any]) -> dict[str, Any]:
    """The values given, or those that the run in the output folder was started with when it is to be resumed.

    Raises:
        ValueError: there is no run, or one of another app.
    """
    if not given["resume"]:
        return dict(given)
    run = RunFolder(given["output_dir"])
    stored = run.read_config()
    check_settings(stored, flags_class, run.config)
    return {**given, **stored}


def check_settings(stored: Mapping[str, Any], flags_class: type[Any], source: Path) -> None:
    """Raise ValueError for settings from a file that are not among the flags, or of another type than the flag.

    Args:
        stored: by the flags' names.
        flags_class: a dataclass with the flags.
        source: the file.
    """
    types, names = get_type_hints(flags_class), {field.name for field in fields(flags_class)}
    parser = ArgumentParser(exit_on_error=False)
    for name in stored:
        if name not in names:
            raise ValueError(f"config.yaml of {source.parent} has the unknown key {name!r}")
        parser.add_argument(f"--{name}", type=types[name])
    try:
        parser.parse_object(dict(stored))
    except ArgumentError as error:
        raise ValueError(f"{source}: {error}") from error


def check_choices(given: Mapping[str, Any], choices: Mapping[str, Sequence[str | None]]) -> None:
    """Raise ValueError for a value that is none of those allowed."""
    for name, allowed in choices.items():
        if given[name] not in allowed:
            raise ValueError(f"unknown {name} {given[name]!r}: known are {[value for value in allowed if value]}")
