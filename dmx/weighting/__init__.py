"""Weightings, which combine the losses of several tasks to one update; importing this package registers them."""

from dmx.registry import import_modules

import_modules(__name__)
