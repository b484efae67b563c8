"""The optimizers: torch's, timm's, and two by other libraries; importing this package registers them.

Weight decay starts at 0 but for AdamW, which is named for it. What only timm and the others have is imported when it
is built: importing timm takes seconds.
"""

from dmx.training.optimizers import adams, by_gradient, by_history, later_adams, muon, without_schedule

__all__ = ["adams", "by_gradient", "by_history", "later_adams", "muon", "without_schedule"]
