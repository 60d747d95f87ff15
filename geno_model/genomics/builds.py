"""Which genome build a FASTA or a VCF is of, as far as names, contig lengths and headers tell (spec 1, 3).

Belongs here: names of contigs and what they say, naming a build in a message to a person. Does not: deciding whether a
file fits (`build_check`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MT_LENGTH_BP = 16_569
"""Of the mitochondrion that everybody means today (rCRS, NC_012920.1); GRCh37 and GRCh38 have it."""
OLD_MT_LENGTH_BP = 16_571
"""Of chrM in NCBI36 and in UCSC's hg19: a Yoruba sequence (NC_001807.4) with other bases at other places."""

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
    "NCBI36": (
        247249719, 242951149, 199501827, 191273063, 180857866, 170899992, 158821424, 146274826, 140273252, 135374737,
        134452384, 132349534, 114142980, 106368585, 100338915, 88827254, 78774742, 76117153, 63811651, 62435964,
        46944323, 49691432, 154913754, 57772954,
    ),
    "T2T-CHM13": (
        248387328, 242696752, 201105948, 193574945, 182045439, 172126628, 160567428, 146259331, 150617247, 134758134,
        135127769, 133324548, 113566686, 101161492, 99753195, 96330374, 84276897, 80542538, 61707364, 66210255,
        45090682, 51324926, 154259566, 62460029,
    ),
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
# Version of RefSeq's NC_000001 to NC_000024 in GRCh38; GRCh37 has the one before, NCBI36 the one before that.
_REFSEQ_GRCH38 = (11, 12, 12, 12, 10, 12, 14, 11, 12, 11, 10, 12, 11, 9, 10, 10, 11, 10, 10, 11, 9, 11, 11, 10)
_REFSEQ_BUILDS = ("GRCh38", "GRCh37", "NCBI36")
_GENBANK_BUILDS = {1: "GRCh37", 2: "GRCh38"}  # versions of CM000663 to CM000686
_MITOCHONDRIA = {"NC_012920": MT_LENGTH_BP, "J01415": MT_LENGTH_BP, "NC_001807": OLD_MT_LENGTH_BP}
_REFSEQ_T2T = 60_925  # NC_060925 is chromosome 1 of T2T-CHM13
_GENBANK = 663  # CM000663 is chromosome 1
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


@dataclass(frozen=True, slots=True)
class Accession:
    """A sequence of a database: chromosome (`21`, `X`, `MT`); build and length in bp of its version.

    Both are None for a version that is not known here, or not given; the build is for the mitochondrion, too.
    """

    chromosome: str
    build: str | None = None
    length_bp: int | None = None


def accession(contig: str) -> Accession | None:
    """What RefSeq's (`NC_000021.8`) or GenBank's (`CM000683.2`, `J01415.2`) name of a human chromosome says."""
    parts = re.fullmatch(r"((?:NC_|CM|J)(\d{1,9}))(?:\.(\d{1,9}))?", contig)
    if not parts:
        return None
    name, number, version = parts[1], int(parts[2]), int(parts[3] or 0)
    if name in _MITOCHONDRIA:
        return Accession("MT", None, _MITOCHONDRIA[name])
    index, build = -1, None
    if name.startswith("CM"):
        index, build = number - _GENBANK, _GENBANK_BUILDS.get(version)
    elif name.startswith("NC_") and number < _REFSEQ_T2T:
        index = number - 1
        n_before = _REFSEQ_GRCH38[index] - version if 0 <= index < len(_NAMES) else -1
        build = _REFSEQ_BUILDS[n_before] if 0 <= n_before < len(_REFSEQ_BUILDS) else None
    elif name.startswith("NC_"):
        index, build = number - _REFSEQ_T2T, "T2T-CHM13"
    if not 0 <= index < len(_NAMES):
        return None
    return Accession(_NAMES[index], build, _LENGTHS_BP[build][index] if build else None)


def plain_name(contig: str) -> str:
    """A contig's name without the habits of its source: `chr` dropped, accessions and `M` spelled out."""
    if known := accession(contig):
        return known.chromosome
    name = contig[3:] if contig[:3].lower() == "chr" and len(contig) > 3 else contig
    return "MT" if name.upper() in ("M", "MT") else name.upper() if name.upper() in ("X", "Y") else name


def contradicts(contig: str, length_bp: int) -> bool:
    """Whether a name says that a sequence of this length is not meant, although `plain_name` is the same.

    So does an accession with a version (of another length, or one that is not known here). So does `MT` for the old
    mitochondrion of hg19, which UCSC alone has, as `chrM`.
    """
    known = accession(contig)
    if known and "." in contig:
        return known.length_bp != length_bp
    if plain_name(contig) != "MT" or length_bp not in (MT_LENGTH_BP, OLD_MT_LENGTH_BP):
        return False
    return known.length_bp != length_bp if known else length_bp == OLD_MT_LENGTH_BP and contig.upper().endswith("MT")


def build_of(lengths_bp: Mapping[str, int]) -> str | None:
    """The build of which contigs (name -> length) have the lengths; None where no length is that of a known one."""
    plain = {plain_name(name): length for name, length in lengths_bp.items()}
    agreeing = {
        build: sum(plain.get(name) == length for name, length in zip(_NAMES, known, strict=True))
        for build, known in _LENGTHS_BP.items()
    }
    best = max(agreeing, key=agreeing.__getitem__)
    return best if agreeing[best] else None


def header_lengths(header: Iterable[str]) -> dict[str, int]:
    """Contigs with their lengths in bp, as a VCF's header lines declare them.

    Left out are lengths that mean none: 0, the largest 32-bit number, and all that PLINK writes, which are the
    positions of its last variants.
    """
    text = "\n".join(line for line in header if line.startswith("##"))
    if re.search(r"^##source=PLINK", text, flags=re.MULTILINE | re.IGNORECASE):
        return {}
    found = re.findall(r"^##contig=<(?=.*\bID=([^,>]+))(?=.*\blength=(\d+))", text, flags=re.MULTILINE)
    return {name: int(length) for name, length in found if int(length) not in (0, 2**31 - 1)}


def build_of_header(header: Iterable[str]) -> str | None:
    """The build that a VCF's header lines name: by contig lengths, else by what it calls its reference."""
    header = list(header)
    if found := build_of(header_lengths(header)):
        return found
    text = "\n".join(line for line in header if line.startswith("##"))
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
