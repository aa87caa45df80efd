"""The package that a sweep needs besides those of every training."""

from importlib.util import find_spec

from slt_cache.errors import InputError


def require_optuna() -> None:
    """Raises InputError, with what to install, if optuna is missing."""
    if find_spec("optuna") is None:
        raise InputError("sweep: needs optuna, which is not installed. Install it: pip install 'optuna>=4'")
