"""The losses of mask and depth; importing this package registers them.

Beside the `kinds` of depth and its requirements on the experiment, `needs` (`dmx.config.components`), a loss may be
registered with two facts:

- `term=True`: it cannot train the task alone, because some wrong predictions (by an offset, by a scale, or on all of
  some samples) cost nothing or too little. It must be combined with another loss, and a study should not choose it
  alone.
- `prior=True`: it depends only on the prediction, the image, and where the truth is known, not on the truth itself. So
  its minimum is a constant and not the truth.
"""

from dmx.registry import import_modules

import_modules(__name__)
