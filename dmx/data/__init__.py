"""From folders of pictures to batches: layout, split, reading, augmentation, packs, loader, and writing data sets."""

import cv2

# OpenCV's thread pool does not survive a fork: a loader worker forked after the pool has started deadlocks. Our own
# preloading threads and the loader processes use the cores already.
cv2.setNumThreads(1)
