"""Import foreign data as a data set of dmx: registered functions (source, out, progress, copy) -> Summary."""

from dmx.datatools.importers.eva4 import eva4
from dmx.datatools.importers.mapping import mapping
from dmx.datatools.importers.nyuv2 import nyuv2

__all__ = ["eva4", "mapping", "nyuv2"]
