"""`python -m interleave_index` is the command `interleave-index`."""

from .cli import main

if __name__ == "__main__":
    main()
