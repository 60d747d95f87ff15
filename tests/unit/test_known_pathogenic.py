"""Known pathogenic alleles: which are carried, and what a person is told."""

from __future__ import annotations

import polars as pl
import pytest

from geno_model.scoring.known_pathogenic import KnownPathogenic, known_alleles, marked

KEY = {"contig": "chr1", "pos": 5, "ref": "A", "alt": "C"}


@pytest.mark.parametrize(
    ("rest", "n_carried", "n_unknown"),
    [
        (None, 0, 1),  # no samples
        ("GT", 0, 1),
        ("DP:AD\t3:4", 0, 1),  # no genotypes
        ("GT\t0/0", 0, 0),
        ("GT\t./.", 0, 0),
        ("GT\t.", 0, 0),
        ("GT\t0/2", 1, 0),
        ("GT\t2|0", 1, 0),
        ("GT\t2", 1, 0),
        ("GT:DP\t./2:7", 1, 0),
        ("GT:DP\t0/0:2", 0, 0),  # 2 is a depth
        ("GT:PL\t0/0:0,2,2", 0, 0),
        ("GT\t0/1", 0, 0),
        ("GT\t1/12", 0, 0),
        ("GT\t2/12", 1, 0),
        ("GT\t0/0\t0/1\t1/2\t0/0", 1, 0),  # of several samples one is enough
        ("GT\t0/0\t0/0\t./.", 0, 0),
        ("GT\t0/0/2", 1, 0),
        ("GT\t/0|2", 1, 0),  # VCF 4.4
    ],
)
def test_an_allele_is_carried_if_a_genotype_has_its_number(rest: str | None, n_carried: int, n_unknown: int) -> None:
    """The second ALT of record 7 is known."""
    lines = pl.DataFrame({"record": [6, 7], "rest": ["GT\t2/2", rest]}, schema={"record": pl.Int64, "rest": pl.String})
    scores = pl.DataFrame(
        {"record": [6, 7, 7], "alt_index": [1, 0, 1], "clinvar_pathogenic": [False, False, True]},
        schema_overrides={"alt_index": pl.Int64, "record": pl.Int64},
    )
    known = known_alleles(scores, lines)
    assert known["alt_index"].to_list() == [1] * (n_carried + n_unknown)
    assert KnownPathogenic.count(known) == KnownPathogenic(n_carried, n_unknown)
    assert KnownPathogenic.count(known_alleles(scores)) == KnownPathogenic(n_unknown=1)


def test_advice_follows_the_counts() -> None:
    assert KnownPathogenic().advice(is_synthetic=False) == []
    (carried,) = KnownPathogenic(n_carried=1_200).advice(is_synthetic=False)
    assert carried.startswith("1,200 alleles that a genotype carries are pathogenic") and "unknown" not in carried
    (unknown,) = (KnownPathogenic() + KnownPathogenic(n_unknown=1)).advice(is_synthetic=False)
    assert unknown.startswith("1 allele is pathogenic") and "unknown whether anybody carries it" in unknown
    assert all("genetic counsellor" in sentence for sentence in (carried, unknown))
    made_up = KnownPathogenic(1, 1).advice(is_synthetic=True)
    assert len(made_up) == 2 and all("SYNTHETIC" in told and "counsellor" not in told for told in made_up)


def test_every_allele_is_marked_once_or_not_at_all_where_nothing_is_known() -> None:
    alleles = pl.DataFrame([KEY, KEY | {"alt": "G"}, KEY | {"contig": None}, KEY], orient="row")
    known = pl.DataFrame([KEY, KEY | {"pos": 9}])
    assert marked(alleles, known)["clinvar_pathogenic"].to_list() == [True, False, False, True]
    assert marked(alleles, known.clear())["clinvar_pathogenic"].to_list() == [None] * 4
