"""Errors of scoring that a caller tells apart. Nothing heavy is imported, so that a command line can catch them."""

from __future__ import annotations

from geno_model.genomics.errors import InputError


class ScoringError(InputError):
    """Scores cannot be computed from what was given."""


class CalibrationError(InputError):
    """A calibration table that cannot be made, read, or used with this model."""


class NothingScoredError(InputError):
    """The input was read, and not one allele of it could be scored."""


class VariantTextError(InputError):
    """A text that names no variant, or not in a way that can be used without asking a database."""


class OutputError(InputError):
    """An output file that cannot be written."""
