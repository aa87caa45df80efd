"""The command line. Commands are thin: read the config, call one pipeline function, print its result."""

from .app import main

__all__ = ["main"]
