"""`python -m dlskills.cli`."""

from dlskills.cli import main

main()
