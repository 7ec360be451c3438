"""`python -m delegator`."""

from delegator.cli import main

if __name__ == "__main__":
    main()
