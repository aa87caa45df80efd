"""The command line. Commands are thin: read the config, call one pipeline function, print its result."""


def main() -> None:
    """Runs the command line. Exit codes: 0 done, 1 failed on the way, 2 bad input, 130 interrupted."""
    try:
        from .program import run  # within the block: Ctrl-C may come while it is imported

        run()
    except KeyboardInterrupt:
        import sys

        sys.stderr.write("interrupted.\n")
        raise SystemExit(130) from None


__all__ = ["main"]
