"""The pipeline: one graph of assets from input files to a released model (spec 9)."""
