"""What a command tells whoever runs it, in place of a traceback."""


class OperatorError(Exception):
    """What was asked for cannot be done. The text says why, and what to do; it never shows a value that is secret."""
