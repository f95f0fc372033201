"""`python -m rm_tension` is `rm-tension`."""

from rm_tension.cli import main

if __name__ == "__main__":
    main()
