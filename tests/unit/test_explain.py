"""Each reason in a sentence that holds what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from geno_model.genomics.alleles import REASONS, to_alleles
from geno_model.genomics.builds import PAR_BP
from geno_model.genomics.genome import Genome
from geno_model.scoring.explain import explain
from geno_model.scoring.scorer import variant_lines
from tests.unit.test_build_check import sparse_genome


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    """chr21:  A1 C2 G3 T4 r5 N6 y7 A8 A9 A10 C11 ..."""
    folder = tmp_path_factory.mktemp("genome")
    (folder / "g.fa").write_text(">chr21\nACGTrNyAAAC" + "ACGT" * 20 + "\n>2\nAC\n>3\nAC\n>4\nAC\n>5\nAC\n>6\nAC\n")
    return Genome.open(folder / "g.fa", cache_dir=folder)


def told(genome: Genome, variant: str) -> tuple[str | None, str | None]:
    """Reason and sentence, as `--variant` has them."""
    (row,) = to_alleles(variant_lines([variant]), genome).to_dicts()
    given = {name: row[f"vcf_{name}"] for name in ("chrom", "pos", "ref", "alt")}
    return row["reason"], explain(given | {"reason": row["reason"]}, genome)


@pytest.mark.parametrize(
    ("variant", "reason", "sentence"),
    [
        ("chr21:2:C:T", None, None),
        ("chr21:2:A:T", "ref_mismatch", "REF is A, the FASTA has C at chr21:2"),
        ("21:2:cgg:T", "ref_mismatch", "REF is CGG, the FASTA has CGT at chr21:2"),
        ("21:12:" + "T" * 24 + ":A", "ref_mismatch",
         f"REF is {'T' * 20}... (24 bases), the FASTA has {'ACGT' * 5}... (24 bases) at chr21:12"),
        ("chr21:5:A:G", "ambiguous_base",
         "the FASTA has 'R', an IUPAC code for A or G, at chr21:5: an allele cannot be compared with that"),
        ("chr21:4:TA:T", "ambiguous_base",
         "the FASTA has 'R', an IUPAC code for A or G, at chr21:5: an allele cannot be compared with that"),
        ("chr21:7:C:T", "ambiguous_base",
         "the FASTA has 'Y', an IUPAC code for C or T, at chr21:7: an allele cannot be compared with that"),
        ("chr21:6:A:T", "ambiguous_base", "the FASTA has N at chr21:6: its sequence is not known there, or masked"),
        ("chr21:10:A:AA", "ambiguous_base",
         "moved as far left as it can be, the allele stands beside a base that is unknown in the FASTA (N)"),
        ("chr21:2:C:S", "ambiguous_base", "ALT has 'S', an IUPAC code for C or G: give A, C, G or T"),
        ("chr21:2:N:A", "ambiguous_base", "REF has 'N', which is no base: give A, C, G or T"),
        ("chr21:92:A:C", "out_of_range",
         "chr21 of the FASTA has 91 bp: it ends before the allele, or pos is below 1"),
        ("chr21:0:A:C", "out_of_range", "chr21 of the FASTA has 91 bp: it ends before the allele, or pos is below 1"),
        ("chr7:2:A:C", "contig_unknown", "the FASTA has no contig chr7; it has chr21, 2, 3, 4, 5 and 1 more"),
        ("NC_000021.8:2:A:C", "contig_unknown",
         "NC_000021.8 is chromosome 21 of GRCh37 (48,129,895 bp), but chr21 has 91 bp in the FASTA"),
        (f"chr21:2:C:C{'ACGT' * 5}", "too_long",
         "the longer allele has 21 bases, more than 16 also once it was trimmed"),
    ],
)  # fmt: skip
def test_what_was_found(genome: Genome, variant: str, reason: str | None, sentence: str | None) -> None:
    assert told(genome, variant) == (reason, sentence)


@pytest.mark.parametrize("reason", REASONS)
@pytest.mark.parametrize("place", [("chr21", 2), ("chr21", 500), ("chr7", 2), ("chr21", -3)])
def test_every_reason_has_a_sentence_anywhere(genome: Genome, reason: str, place: tuple[str, int]) -> None:
    row = {"chrom": place[0], "pos": place[1], "ref": "C", "alt": "<DEL>", "reason": reason}
    assert explain(row, genome)


@pytest.mark.parametrize(
    ("build", "length", "region", "pos", "on_x"),
    [
        ("GRCh37", 59_373_566, "PAR1", 10_001, 60_001),
        ("GRCh37", 59_373_566, "PAR1", 2_649_520, 2_699_520),
        ("GRCh37", 59_373_566, "PAR2", 59_363_566, 155_260_560),
        ("GRCh38", 57_227_415, "PAR1", 2_781_479, 2_781_479),
        ("GRCh38", 57_227_415, "PAR2", 56_887_903, 155_701_383),
        ("GRCh38", 57_227_415, "PAR2", 57_217_415, 156_030_895),
    ],
)
def test_a_masked_pseudo_autosomal_region_of_y_points_to_x(
    tmp_path: Path, build: str, length: int, region: str, pos: int, on_x: int
) -> None:
    genome = sparse_genome(tmp_path, {"chrY": length}, n_at=(pos - 3, pos + 2))
    assert told(genome, f"Y:{pos}:A:C") == (
        "ambiguous_base",
        f"the FASTA has N at chrY:{pos}; this is in the pseudo-autosomal region of Y ({region}), which this "
        f"FASTA masks; give the variant on X, at X:{on_x}",
    )
    start_bp, end_bp = PAR_BP[build]["Y"][int(region[-1]) - 1]
    inside = start_bp <= pos < end_bp
    assert ("pseudo-autosomal" in str(told(genome, f"Y:{pos + 1}:A:C")[1])) == inside
