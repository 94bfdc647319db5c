"""`python -m dlskills`."""

from dlskills.cli import main

if __name__ == "__main__":
    main()
