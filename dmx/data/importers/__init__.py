"""Foreign data brought into the canonical folder: (source, out, progress, copy) -> Summary, by name in the registry."""

from dmx.data.importers.eva4 import eva4
from dmx.data.importers.mapping import mapping
from dmx.data.importers.nyuv2 import nyuv2

__all__ = ["eva4", "mapping", "nyuv2"]
