"""From a command line to an exported model: what text and image searches share, and each one's own in a folder.

``knotwork_tasks.text`` needs the extra ``text``, ``knotwork_tasks.images`` the extra ``images``.
"""

from knotwork_tasks._command_line import run_command
from knotwork_tasks._flags import SearchFlags, parse_search_flags, search_parser
from knotwork_tasks._saved import SavedRun
from knotwork_tasks._search import search
from knotwork_tasks._task import Packaging, Task, TaskKind, task_kind

__all__ = [
    "Packaging",
    "SavedRun",
    "SearchFlags",
    "Task",
    "TaskKind",
    "parse_search_flags",
    "run_command",
    "search",
    "search_parser",
    "task_kind",
]
