"""What can go wrong once the arguments are right."""


class ExportError(RuntimeError):
    """An exported folder that is not what it should be, or that could not be delivered."""
