"""From a command line to settings, what every app's flags have in common."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from textwrap import shorten
from typing import Any, get_type_hints

from jsonargparse import ArgumentError, ArgumentParser
from knotwork_search import RunFolder, read_settings

LONGEST_MESSAGE = 1000
"""jsonargparse prints the values that it refuses, however long."""


def parse(parser: ArgumentParser, arguments: Sequence[str] | None) -> dict[str, Any]:
    """The values of a parser's flags by name.

    Raises:
        ValueError: an unknown flag or key, a value of another type, or a ``--config`` that is no mapping of plain values.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for file in filter(os.path.isfile, _config_files(arguments)):
        read_settings(file)  # jsonargparse would follow aliases without end, and print them
    try:
        given = vars(parser.parse_args(arguments))
    except ArgumentError as error:
        raise ValueError(f"{shorten(str(error), LONGEST_MESSAGE)}. See --help") from error
    given.pop("config", None)
    return given


def _config_files(arguments: Sequence[str]) -> Iterator[str]:
    """What follows ``--config``, which may be abbreviated."""
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        flag, _, value = argument.partition("=")
        if len(flag) > len("--co") and "--config".startswith(flag):
            yield value or following


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
        raise ValueError(f"{source}: {shorten(str(error), LONGEST_MESSAGE)}") from error


def check_choices(given: Mapping[str, Any], choices: Mapping[str, Sequence[str | None]]) -> None:
    """Raise ValueError for a value that is none of those allowed."""
    for name, allowed in choices.items():
        if given[name] not in allowed:
            raise ValueError(f"unknown {name} {given[name]!r}: known are {[value for value in allowed if value]}")
