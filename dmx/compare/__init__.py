"""Which run is better, and whether that is more than chance."""
