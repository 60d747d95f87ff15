"""Why one allele has no score, in a sentence with what was found (spec 5, `--variant`).

Belongs here: the facts of the allele and of the FASTA at its place. Does not: the reason itself
(`geno_model.genomics.alleles`), the general sentence for it (`report_words`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from geno_model.genomics.build_check import name_contradiction
from geno_model.genomics.builds import PAR_BP, build_of, plain_name
from geno_model.genomics.edits import V1_MAX_LEN
from geno_model.genomics.genome import Genome
from geno_model.scoring.report_words import REASONS

IUPAC = {
    "R": "A or G", "Y": "C or T", "S": "C or G", "W": "A or T", "K": "G or T", "M": "A or C",
    "B": "C, G or T", "D": "A, G or T", "H": "A, C or T", "V": "A, C or G",
}  # fmt: skip

_BASES_SHOWN = 20


def explain(row: Mapping[str, Any], genome: Genome) -> str | None:
    """The sentence for a row: chrom, pos (1-based), ref, alt as they were given, and its reason; None without one."""
    reason = row["reason"]
    if reason is None:
        return None
    chrom, pos = str(row["chrom"]), int(row["pos"])
    ref, alt = str(row["ref"]).upper(), str(row["alt"]).upper()
    contig = genome.resolve(chrom)
    if contig is None:
        if reason != "contig_unknown":
            return REASONS[reason]
        return name_contradiction(chrom, genome) or f"the FASTA has no contig {chrom}; it has {genome.contigs_in_words}"
    is_inside = 1 <= pos <= genome.contigs[contig] - len(ref) + 1
    if reason == "out_of_range" and not is_inside:
        return f"{contig} of the FASTA has {genome.contigs[contig]:,} bp: it ends before the allele, or pos is below 1"
    if reason == "ref_mismatch" and is_inside:
        return f"REF is {_shown(ref)}, the FASTA has {_shown(_bases(genome, contig, pos, len(ref)))} at {contig}:{pos}"
    if reason == "ambiguous_base" and is_inside:
        return _of_letters(ref, alt, genome, contig, pos)
    if reason == "too_long":
        return (
            f"the longer allele has {max(len(ref), len(alt)):,} bases, more than {V1_MAX_LEN} also once it was trimmed"
        )
    return REASONS[reason]


def _of_letters(ref: str, alt: str, genome: Genome, contig: str, pos: int) -> str:
    """The letter that is no base: of the allele, of the FASTA under it, or of the FASTA to the left."""
    for name, bases in (("REF", ref), ("ALT", alt)):
        if odd := [letter for letter in bases if letter not in "ACGT"]:
            return f"{name} has {_letter(odd[0])}: give A, C, G or T"
    fasta = _bases(genome, contig, pos, len(ref))
    odd_at = next((at for at, letter in enumerate(fasta) if letter not in "ACGT"), None)
    if odd_at is None:
        return "moved as far left as it can be, the allele stands beside a base that is unknown in the FASTA (N)"
    at = pos + odd_at
    if fasta[odd_at] != "N":
        return f"the FASTA has {_letter(fasta[odd_at])}, at {contig}:{at}: an allele cannot be compared with that"
    if on_x := _on_x(genome, contig, pos):
        return (
            f"the FASTA has N at {contig}:{at}; this is in the pseudo-autosomal region of Y ({on_x[0]}), which this "
            f"FASTA masks; give the variant on X, at {on_x[1]}"
        )
    return f"the FASTA has N at {contig}:{at}: its sequence is not known there, or masked"


def _on_x(genome: Genome, contig: str, pos: int) -> tuple[str, str] | None:
    """The pseudo-autosomal region that a place on Y lies in, and the place on X."""
    build = build_of({contig: genome.contigs[contig]})
    if plain_name(contig) != "Y" or build is None:
        return None
    regions = PAR_BP.get(build, {"X": (), "Y": ()})
    for number, ((start_bp, end_bp), (start_on_x_bp, _)) in enumerate(zip(regions["Y"], regions["X"], strict=True), 1):
        if start_bp < pos <= end_bp:
            return f"PAR{number}", f"{genome.resolve('X') or 'X'}:{pos - start_bp + start_on_x_bp}"
    return None


def _bases(genome: Genome, contig: str, pos: int, length: int) -> str:
    """The FASTA's letters from a 1-based position on."""
    return "".join(genome.letter(contig, at) for at in range(pos - 1, pos - 1 + length))


def _letter(letter: str) -> str:
    if letter in IUPAC:
        return f"{letter!r}, an IUPAC code for {IUPAC[letter]}"
    return f"{letter!r}, which is no base"


def _shown(bases: str) -> str:
    return bases if len(bases) <= _BASES_SHOWN else f"{bases[:_BASES_SHOWN]}... ({len(bases)} bases)"
