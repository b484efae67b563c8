"""Foreign data brought into the canonical folder: (source, out, progress, copy) -> Summary, by name in the registry."""

from dmx.datatools.importers.eva4 import eva4
from dmx.datatools.importers.mapping import mapping
from dmx.datatools.importers.nyuv2 import nyuv2

__all__ = ["eva4", "mapping", "nyuv2"]
