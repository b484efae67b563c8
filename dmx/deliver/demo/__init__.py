"""The page of `dmx demo`, served from exported files without torch."""
