"""Tools that make, import, check and draw data sets; only the command line uses them, no training run does.

    synth        ray-cast rooms with exact depth, mask and background
    compose      cut-outs placed in photographed scenes
    importers    foreign data, listed or copied as a data set of `dmx.data`
    check        finds errors in a data set
    stats        colours, depth and coverage of a data set, stored in its `stats.json`
    sheet        contact sheets

What training reads (layouts, decoding, splits, augmentation, packs) is in `dmx.data`, which never imports this package.
"""
