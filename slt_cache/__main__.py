"""`python -m slt_cache`, so that torchrun and accelerate can launch it."""

from slt_cache.cli import main

if __name__ == "__main__":
    main()
