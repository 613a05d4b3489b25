"""`python -m suite.cli`: the command without its installed script."""

from suite.cli import app

app()
