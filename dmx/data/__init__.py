"""From folders of pictures to batches: layout, split, reading, transform, loader, and what makes such folders."""
