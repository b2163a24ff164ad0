"""`python -m fleetbox.cli`: the `fleetbox` command where no script is on PATH."""

from fleetbox.cli import main

main()
