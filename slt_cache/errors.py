"""Errors that a user may meet. Each message says what, where and what to do next; the command line turns them
into exit codes and prints no traceback."""


class SltCacheError(Exception):
    """Something failed on the way; what was finished is kept."""

    exit_code = 1


class InputError(SltCacheError):
    """What the user gave cannot be used: a missing file, a wrong value, an unknown key."""

    exit_code = 2
