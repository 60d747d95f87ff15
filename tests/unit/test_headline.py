"""What the screen says at the end of a run: the figures of the tables, and nothing where there are none."""

from __future__ import annotations

import polars as pl
from rich.console import Console
from rich.table import Table

from geno_pipeline.headline import ablation_table, ranking_table, skill_table


def text(table: Table) -> str:
    console = Console(width=140, record=True, file=open("/dev/null", "w"))
    console.print(table)
    return console.export_text()


def test_skill_stands_beside_no_change() -> None:
    row = {"holdout": "holdout-chr", "k": 1, "edit_type": "SNV", "n": 1_234, "skill": 0.7251, "skill_low": 0.65,
           "skill_high": 0.81, "ridge_skill": 0.5123, "random_skill": -1.234}  # fmt: skip
    lines = text(skill_table(pl.DataFrame([row, row | {"k": None}, row | {"holdout": "holdout-clinvar"}]))).splitlines()
    shown = [line for line in lines if "SNV" in line]
    assert len(shown) == 1
    for part in ("1,234", "0.725", "0.650 to 0.810", "0.512", "-1.234"):
        assert part in shown[0]


def test_ablations_stand_in_a_row_for_each_variant_with_half_their_interval() -> None:
    rows = [
        {"variant": variant, "edits": edits, "n": n, "n_seeds": 3, "skill": skill, "skill_low": skill - 0.05,
         "skill_high": skill + 0.05}
        for variant, skill in (("all inputs", 0.7), ("context none", -0.04))
        for edits, n in (("K = 1, SNV", 405), ("K = 2, all", 20))
    ]  # fmt: skip
    shown = text(ablation_table(pl.DataFrame(rows)))
    assert "mean of 3" in shown and "n = 405" in shown and "n = 20" in shown
    rows_shown = [line for line in shown.splitlines() if "0.7" in line or "-0.04" in line]
    assert len(rows_shown) == 2 and rows_shown[0].count("0.700") == 2 and rows_shown[1].count("-0.040") == 2
    assert shown.count("±0.050") == 4


def test_a_benchmark_without_a_figure_says_why() -> None:
    row = {"track": "ClinVar coding", "family": "kind", "subset": "all", "score": "displacement", "n_positive": 4,
           "n_negative": 62,
           "auroc": None, "auroc_low": None, "auroc_high": None, "note": "fewer than 10 positives"}  # fmt: skip
    shown = text(ranking_table(pl.DataFrame([row, row | {"subset": "SNV"}])))
    assert shown.count("displacement") == 1 and "fewer than 10 positives" in shown


def test_a_long_reason_leaves_room_for_the_rest_on_a_narrow_screen() -> None:
    row = {"track": "ClinVar coding", "family": "kind", "subset": "all", "score": "consequence class", "n_positive": 93,
           "n_negative": 256, "auroc": None, "auroc_low": None, "auroc_high": None,
           "note": "no allele has this score: no gene models, and the benchmark names no consequence"}  # fmt: skip
    console = Console(width=80, record=True, file=open("/dev/null", "w"))
    console.print(ranking_table(pl.DataFrame([row])))
    shown = console.export_text()
    assert "…" not in shown and "256" in shown and "AUROC" in shown


def test_a_benchmark_without_a_file_takes_no_room() -> None:
    row = {"track": "BRCA1", "family": "kind", "subset": "all", "score": "displacement", "n_positive": 0,
           "n_negative": 0, "auroc": None, "auroc_low": None, "auroc_high": None,
           "note": "no file was given"}  # fmt: skip
    assert "BRCA1" not in text(ranking_table(pl.DataFrame([row])))
