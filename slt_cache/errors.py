"""Errors that a user may meet. Each message says what, where and what to do next; the command line turns them into exit
codes without traceback."""


class SltCacheError(Exception):
    """Failure on the way; what was finished is kept."""

    exit_code = 1


class InputError(SltCacheError):
    """Error in the user's input: a missing file, a wrong value, an unknown key."""

    exit_code = 2
