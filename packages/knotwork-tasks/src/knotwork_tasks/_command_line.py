"""How every app ends: its exit code, and one line for an error that its user can mend."""

from __future__ import annotations

import sys
from collections.abc import Callable

from jsonargparse import ArgumentError
from knotwork_export import ExportError
from knotwork_search import BudgetError, DivergedError, RunInterrupted


def run_command(program: str, command: Callable[[], None]) -> int:
    """Run an app's command. Returns its exit code: 0, also when its time is over; 1 for an export that fails its
    verification, a model that is measured over its budget, or a loss that is not a finite number any more; 2 for bad input;
    130 or 143 when it was interrupted or terminated.

    Args:
        program: the app's name, for its error line.
        command: what to run; raises ValueError or OSError for what the user can mend.
    """
    try:
        command()
    except (ExportError, BudgetError, DivergedError) as error:
        return _fail(program, error, 1)
    except (ArgumentError, ValueError, OSError) as error:
        return _fail(program, error, 2)
    except RunInterrupted as interruption:
        print(f"{program}: {interruption}", file=sys.stderr)
        return interruption.exit_code
    except KeyboardInterrupt:
        return _fail(program, "interrupted", 130)
    return 0


def _fail(program: str, error: object, code: int) -> int:
    """Say on one line what was wrong, and hand the exit code back."""
    print(f"{program}: error: {' '.join(str(error).split())}", file=sys.stderr)
    return code
