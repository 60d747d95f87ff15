"""Windows and the assignment of alleles to them, against coordinates worked out by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import HoldoutChr, ReferenceWindows, validate
from geno_model.genomics.errors import InputError
from geno_pipeline.build.windows import assign_windows, reference_windows
from tests.unit.build_inputs import STRIDE_BP, WINDOW_BP, make_genome

NO_HOLDOUT = HoldoutChr.empty()


def test_grid_of_four_windows_by_hand(tmp_path: Path) -> None:
    # Starts 0 and 8,192, then flush: 30,000 - 12,288 = 17,712. Borders halfway between centres.
    genome = make_genome(tmp_path, {"1": 30_000}, n_spans={"1": (0, 600)})
    holdout = pl.DataFrame([("1", 20_479, 20_480)], schema=NO_HOLDOUT.schema, orient="row")
    frame, counts = reference_windows(genome, "1", WINDOW_BP, STRIDE_BP, 0.05, holdout)
    validate(ReferenceWindows, frame)
    assert frame["start_bp"].to_list() == [0, 8_192, 16_384, 17_712]
    assert frame["core_start_bp"].to_list() == [2_042, 10_240, 18_432, 23_192]  # none near the ends
    assert frame["core_end_bp"].to_list() == [10_240, 18_432, 23_192, 30_000 - 2_042]
    assert frame["holdout"].to_list() == ["", "holdout-chr", "holdout-chr", "holdout-chr"]  # window 1 ends at 20,480
    assert frame["n_fraction"].to_list() == pytest.approx([600 / 12_288, 0, 0, 0])
    bases = genome.window("1", 0, 12_288)
    n_gc = np.isin(bases, np.frombuffer(b"GC", dtype=np.uint8)).sum()
    assert frame["gc"][0] == pytest.approx(n_gc / (12_288 - 600))
    assert frame["sha256"][0] == hashlib.sha256(bases.tobytes()).hexdigest()
    # 0 - 8,192 once, - 12,288 twice, - 16,384 once, - 17,712 twice, - 20,480 three times, - 28,672 twice, - 30,000 once
    assert counts["observed_coverage"] == pytest.approx(4 * 12_288 / 30_000)
    assert counts["covered_twice"] == pytest.approx((4_096 + 1_328 + 2_768 + 8_192) / 30_000)
    assert (counts["made"], counts["kept"], counts["dropped_n"]) == (4, 4, 0)


def test_windows_rich_in_n_are_dropped_and_their_alleles_belong_to_none(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": 28_672}, n_spans={"1": (8_192, 8_192 + 615)})  # 614.4 are 5 % of a window
    frame, counts = reference_windows(genome, "1", WINDOW_BP, STRIDE_BP, 0.05, NO_HOLDOUT)
    assert frame["start_bp"].to_list() == [16_384]
    assert (counts["made"], counts["kept"], counts["dropped_n"]) == (3, 1, 2)
    alleles = pl.DataFrame({"contig": ["1", "1", "2"], "pos": [18_432, 18_433, 18_433], "ref": ["A"] * 3})
    assert assign_windows(alleles, frame)["window_start_bp"].to_list() == [None, 16_384, None]


def test_short_and_unknown_contigs(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": 12_287})
    frame, counts = reference_windows(genome, "1", WINDOW_BP, STRIDE_BP, 0.05, NO_HOLDOUT)
    assert frame.is_empty() and counts["made"] == 0 and counts["observed_coverage"] == 0
    with pytest.raises(InputError, match="chr9"):
        reference_windows(genome, "chr9", WINDOW_BP, STRIDE_BP, 0.05, NO_HOLDOUT)


def test_alleles_keep_their_order_and_columns_and_may_not_leave_their_window(tmp_path: Path) -> None:
    genome = make_genome(tmp_path, {"1": 20_480, "2": 12_288})
    windows = pl.concat([reference_windows(genome, c, WINDOW_BP, STRIDE_BP, 0.05, NO_HOLDOUT)[0] for c in ("2", "1")])
    alleles = pl.DataFrame(
        {
            "contig": ["2", "1", "1", "1", "1"],
            "pos": [12_288, 20_480 - 2_042, 2_043, 10_240, 10_241],
            "ref": ["A", "A", "A", "A", "A"],  # the first one lies too near to the contig's end
            "start_bp": [1, 2, 3, 4, 5],  # columns of the windows' names are left alone
            "end_bp": [1, 2, 3, 4, 5],
        }
    )
    placed = assign_windows(alleles, windows)
    assert placed["window_start_bp"].to_list() == [None, 8_192, 0, 0, 8_192]
    assert placed.drop("window_start_bp").equals(alleles)
