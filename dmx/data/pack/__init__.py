"""Packs: the samples of a data set, decoded and at one size, in memory-mapped Arrow files.

    OUT/dataset.yaml               the declaration of the set, with masks as 0, 1 and 255 (unknown)
    OUT/pack.json                  size, encoding, where it comes from, and rows, bytes and SHA-256 of each file
    OUT/samples-00000.arrow        id, group, split, background (a row number), image, mask, depth
    OUT/backgrounds-00000.arrow    name, image: each background once

The files are Arrow IPC streams of one record batch. Pictures are cells of bytes, either raw or PNG; how to read those
is in the schema's metadata under `dmx`. Depth is kept as it is stored in the set, so no precision is lost.
"""
