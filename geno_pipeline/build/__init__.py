"""Building the tables and states of the pipeline from input files: plain functions, called by thin assets.

Belongs here: what each table of spec 3 is made of. Does not belong here: Dagster, paths of assets, models.
"""
