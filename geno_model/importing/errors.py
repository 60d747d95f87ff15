"""Errors of importing that a caller tells apart. Nothing heavy is imported, so that a command line can catch them."""

from __future__ import annotations

from geno_model.genomics.errors import InputError, WrongBuildError


class ExportError(InputError):
    """A file that is no genotype export, or one that cannot be read."""


class ExportBuildError(WrongBuildError):
    """The export and the FASTA are probably of different genome builds."""


class NothingWrittenError(InputError):
    """The export was read, and not one row of it gives a record."""
