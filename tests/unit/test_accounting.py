"""Every allele of a file is in one line of the accounting, or the run stops."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from data_contracts import VariantAccounting, validate
from geno_pipeline.build.accounting import (
    ELSEWHERE,
    AccountingError,
    count_alleles,
    in_order,
    parts_by_contig,
    require_all_counted,
)

HEADER = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"


def counts(*lines: tuple[str, str, str, int]) -> pl.DataFrame:
    """Accounting lines (source, contig, reason, n_alleles)."""
    return pl.DataFrame(lines, schema=VariantAccounting.empty().schema, orient="row")


def test_entries_of_alt_are_counted(tmp_path: Path) -> None:
    for name, alts in (("a.vcf", ["C", "C,G,<DEL>", "."]), ("b.vcf", []), ("c.vcf", ["*,T"])):
        records = "".join(f"1\t{10 + place}\t.\tA\t{alt}\t.\t.\tX=1,2\n" for place, alt in enumerate(alts))
        (tmp_path / name).write_text(HEADER + records)
    assert count_alleles(tmp_path / name for name in ("a.vcf", "b.vcf", "c.vcf")) == 7


def test_parts_of_one_reading() -> None:
    whole = counts(("gnomad", "1", "retained", 3), ("gnomad", "2", "contig_unknown", 4), ("gnomad", "X", "filtered", 5))
    parts = parts_by_contig(whole, ["1", "3"], ["1", "2", "3"])
    # Contig 2 has a reading of its own; contig 3 was read and has nothing; X is in no profile.
    assert {name: part["n_alleles"].to_list() for name, part in parts.items()} == {"1": [3], "3": [], ELSEWHERE: [5]}


def test_parts_of_two_readings_add_up_to_the_file() -> None:
    first = counts(("gnomad", "1", "retained", 3), ("gnomad", "2", "contig_unknown", 4), ("gnomad", "X", "filtered", 5))
    second = counts(("gnomad", "1", "contig_unknown", 3), ("gnomad", "2", "low_af", 4), ("gnomad", "X", "filtered", 5))
    stored = parts_by_contig(first, ["1"], ["1", "2"]) | parts_by_contig(second, ["2"], ["1", "2"])
    frame = validate(VariantAccounting, in_order(stored.values()))
    assert frame.rows() == [
        ("gnomad", "1", "retained", 3),
        ("gnomad", "2", "low_af", 4),
        ("gnomad", "X", "filtered", 5),
    ]
    require_all_counted(frame, {"gnomad": 12})


def test_missing_and_surplus_alleles_are_errors() -> None:
    frame = counts(("gnomad", "1", "retained", 3), ("clinvar", "1", "too_long", 2))
    require_all_counted(frame, {"gnomad": 3, "clinvar": 2, "phased": 0})
    with pytest.raises(AccountingError, match="gnomad: 3 alleles are accounted for, its files hold 4.*again"):
        require_all_counted(frame, {"gnomad": 4, "clinvar": 2})
    with pytest.raises(AccountingError, match="clinvar: 2 .* hold 1; phased: 0 .* hold 1"):
        require_all_counted(frame, {"gnomad": 3, "clinvar": 1, "phased": 1})
