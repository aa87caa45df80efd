"""Entry point of `python -m slt_cache`, for torchrun and accelerate."""

from slt_cache.cli import main

if __name__ == "__main__":
    main()
