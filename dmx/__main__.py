"""`python -m dmx`."""

from dmx.cli import main

main()
