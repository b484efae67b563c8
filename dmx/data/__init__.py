"""From folders of pictures to batches: layout, split, reading, transform, loader, and what makes such folders."""

import cv2

# OpenCV's thread pool does not survive a fork: a loader worker forked after the pool has started waits for ever for
# threads that it does not have. Threads of ours (when preloading) and loader processes use the cores already.
cv2.setNumThreads(1)
