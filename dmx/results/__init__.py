"""Results on record, and their order; nothing here needs torch, so that looking at thousands takes no time."""
