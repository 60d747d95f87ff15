"""GenoLeWM: a latent world model of genomic edits, and what a person needs to score variants with it.

Belongs here: edits and genomes (`genomics`), the frozen DNA encoder (`encoder`), the action encoder and predictor
(`predictor`), training, release folders, scoring and the command lines. Does not: the data pipeline and its
orchestration (`geno_pipeline`); nothing here imports it, so this package installs and scores alone.

The concept: a window of DNA is a state (a vector from a frozen encoder), a variant is an action on it, and the
predictor says which state the action leads to.
"""

from __future__ import annotations

__version__ = "0.1.0"
