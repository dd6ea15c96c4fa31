"""`python -m bict` is the `bict` command, so that `accelerate launch -m bict ...` works."""

from bict.cli.main import main

if __name__ == "__main__":
    main()
