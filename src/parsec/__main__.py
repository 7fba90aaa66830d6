"""`python -m parsec` is the same as the command `parsec`."""

from parsec.cli import main

main()
