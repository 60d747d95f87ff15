"""Which genome build a FASTA or a VCF is of, as far as contig lengths and headers tell (spec 1, 3).

Belongs here: naming a build in a message to a person. Does not: deciding whether a file fits; the reference bases of
its alleles do that (`alleles.wrong_build_message`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from geno_model.genomics.genome import plain_name

_NAMES = [*map(str, range(1, 23)), "X", "Y"]
# Lengths in bp of chromosomes 1 to 22, X and Y (Genome Reference Consortium; UCSC hg18; T2T-CHM13 v2.0).
_LENGTHS_BP = {
    "GRCh37": (
        249250621, 243199373, 198022430, 191154276, 180915260, 171115067, 159138663, 146364022, 141213431, 135534747,
        135006516, 133851895, 115169878, 107349540, 102531392, 90354753, 81195210, 78077248, 59128983, 63025520,
        48129895, 51304566, 155270560, 59373566,
    ),
    "GRCh38": (
        248956422, 242193529, 198295559, 190214555, 181538259, 170805979, 159345973, 145138636, 138394717, 133797422,
        135086622, 133275309, 114364328, 107043718, 101991189, 90338345, 83257441, 80373285, 58617616, 64444167,
        46709983, 50818468, 156040895, 57227415,
    ),
    "NCBI36": (247249719,),
    "T2T-CHM13": (248387328,),
}  # fmt: skip
PAR_BP = {
    "GRCh37": {
        "X": ((60_000, 2_699_520), (154_931_043, 155_260_560)),
        "Y": ((10_000, 2_649_520), (59_034_049, 59_363_566)),
    },
    "GRCh38": {
        "X": ((10_000, 2_781_479), (155_701_382, 156_030_895)),
        "Y": ((10_000, 2_781_479), (56_887_902, 57_217_415)),
    },
}
"""Pseudo-autosomal regions: build -> contig -> (PAR1, PAR2), each 0-based half-open (GRC). PAR1 of X is as long as that
of Y, and so is PAR2; men have two copies there, and most FASTAs mask those of Y with N."""
_SPELLINGS = {
    "GRCh37": r"grch37|hg19|b37|hs37d5|v37",
    "GRCh38": r"grch38|hg38|b38|v38",
    "NCBI36": r"ncbi36|hg18|b36",
    "T2T-CHM13": r"chm13|t2t|hs1\b",
}


# As comments of genotype exports write them, which are prose and hold words that only look like a build.
_IN_PROSE = {
    "GRCh37": r"\b(?:grch|ncbi|build|b)[ _=:]*37\b|\bhg19\b",
    "GRCh38": r"\b(?:grch|ncbi|build|b)[ _=:]*38\b|\bhg38\b",
    "NCBI36": r"\b(?:grch|ncbi|build|b)[ _=:]*36\b|\bhg18\b",
}
# 1-based position in NCBI36, GRCh37 and GRCh38 of markers that most genotyping arrays have (dbSNP).
_MARKERS = {
    "rs3094315": (742429, 752566, 817186),
    "rs2341354": (908436, 918573, 983193),
    "rs11928389": (50908372, 50927009, 50889578),
    "rs964481": (27566744, 27656823, 27638706),
    "rs3850290": (22315141, 23245301, 22776092),
    "rs1329546": (135302086, 135474420, 136392261),
}


def build_of(lengths_bp: Mapping[str, int]) -> str | None:
    """The build of which contigs (name -> length) have the lengths; None where no length is that of a known one."""
    plain = {plain_name(name): length for name, length in lengths_bp.items()}
    agreeing = {
        build: sum(plain.get(name) == length for name, length in zip(_NAMES, known, strict=False))
        for build, known in _LENGTHS_BP.items()
    }
    best = max(agreeing, key=agreeing.__getitem__)
    return best if agreeing[best] else None


def build_of_header(header: Iterable[str]) -> str | None:
    """The build that a VCF's header lines name: by contig lengths, else by what it calls its reference."""
    text = "\n".join(line for line in header if line.startswith("##"))
    lengths = dict(re.findall(r"^##contig=<(?=.*\bID=([^,>]+))(?=.*\blength=(\d+))", text, flags=re.MULTILINE))
    if found := build_of({name: int(length) for name, length in lengths.items()}):
        return found
    said = " ".join(re.findall(r"^##(?:reference=|contig=<.*assembly=)(.*)$", text, flags=re.MULTILINE)).lower()
    named = [build for build, pattern in _SPELLINGS.items() if re.search(pattern, said)]
    return named[0] if len(named) == 1 else None


def build_of_prose(lines: Iterable[str]) -> str | None:
    """The build that comments in plain words name, such as `human reference build 37.1`; None for none or several."""
    text = " ".join(lines).lower()
    named = [build for build, pattern in _IN_PROSE.items() if re.search(pattern, text)]
    return named[0] if len(named) == 1 else None


def build_of_markers(positions: Iterable[tuple[str, int]]) -> str | None:
    """The build in which well-known markers (rsID, 1-based position) lie where they do; None if none or two."""
    counts = dict.fromkeys(("NCBI36", "GRCh37", "GRCh38"), 0)
    for name, pos in positions:
        for build, known in zip(counts, _MARKERS.get(name, ()), strict=False):
            counts[build] += pos == known
    agreeing = [build for build, count in counts.items() if count]
    return agreeing[0] if len(agreeing) == 1 else None


MARKER_NAMES = frozenset(_MARKERS)
"""rsIDs that `build_of_markers` knows."""
