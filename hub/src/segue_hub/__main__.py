"""`python -m segue_hub` is `segue-hub`."""

from .cli import main

main()
