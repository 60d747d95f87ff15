"""What a scored file says of itself above its records (spec 5, "geno-score").

Belongs here: our INFO fields, the header of an annotated VCF, the comments on top of a TSV. Does not: records
(`vcf_io`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from geno_model.genomics.genome import Genome, plain_name
from geno_model.scoring.surprise import Heads

RESEARCH_NOTICE = "Research tool, not a clinical diagnostic."

InfoField = tuple[str, str, str, str | None]
"""Name, type and description of an INFO field, and the column of the scores that it is of."""
_INFO_FIELDS: tuple[InfoField, ...] = (
    ("GLM_SIGMA", "Float", "Surprise: percentile among the common variants of GLM_BUCKET, 0 to 1", "surprise"),
    ("GLM_RAW", "Float", "Raw surprise: norm of predicted minus encoded state", "surprise_raw"),
    ("GLM_DISP", "Float", "Displacement: 1 - cosine of predicted and reference state", "displacement"),
    ("GLM_DLL", "Float", "log p of edited DNA less that of the reference, nats; below 0: less likely", "delta_loglik"),
    ("GLM_CONF", "Float", "Confidence: calibration variants in the bucket / 1000, at most 1", "confidence"),
    ("GLM_BUCKET", "String", "Calibration bucket: region class|GC third|repeat class, or coarser", "bucket_id"),
    ("GLM_STATUS", "String", "scored, or the reason why the allele was not", None),
)
OWN_INFO = "^ *(?:" + "|".join(name for name, *_ in _INFO_FIELDS) + ") *="
"""Matches an entry of INFO that is ours."""
_OWN_HEADER = ("##geno_lewm_", *(f"##INFO=<ID={name}," for name, *_ in _INFO_FIELDS))
_UNASKED = {
    "surprise": ("GLM_SIGMA", "GLM_RAW", "GLM_CONF", "GLM_BUCKET"),
    "displacement": ("GLM_DISP",),
    "delta_loglik": ("GLM_DLL",),
}
_CONTIG_NAME = re.compile(r"[0-9A-Za-z!#$%&+./:;?@^_|~-][0-9A-Za-z!#$%&*+./:;=?@^_|~-]*")  # VCF 4.3, 1.4.7


def info_fields(heads: Heads) -> list[InfoField]:
    """The INFO fields of a run that has these heads."""
    unasked = {name for head, names in _UNASKED.items() if not getattr(heads, head) for name in names}
    return [field for field in _INFO_FIELDS if field[0] not in unasked]


def provenance_lines(model_id: str) -> list[str]:
    """Which model, and what the scores are not, as lines that begin with `##`."""
    return [f"##geno_lewm_model_id={model_id}", f"##geno_lewm_notice={RESEARCH_NOTICE}"]


def annotated_header(
    header: Sequence[str], model_id: str, fields: Sequence[InfoField], contig_lines: Sequence[str] = ()
) -> list[str]:
    """The header of an annotated VCF: ours added before `#CHROM`, `##fileformat` first, whatever it was."""
    kept = [line for line in header if not line.startswith(_OWN_HEADER)]
    version = next((line for line in kept if line.startswith("##fileformat")), "##fileformat=VCFv4.2")
    above = [line for line in kept if line.startswith("##") and not line.startswith("##fileformat")]
    # A tab at the end of the line, as some published files have it, makes htslib refuse the whole file.
    columns = [line.rstrip() for line in kept if not line.startswith("##")]
    own = [f'##INFO=<ID={name},Number=A,Type={kind},Description="{text}">' for name, kind, text, _ in fields]
    return [version, *above, *contig_lines, *own, *provenance_lines(model_id), *columns]


def missing_contig_lines(header: Sequence[str], names: Iterable[str], genome: Genome) -> list[str]:
    """The `##contig` lines without which bcftools takes no record: of each contig of the FASTA and each of `names`.

    names: contigs as the records name them, those that are known so far. A contig of the FASTA that neither they nor
    the header name is spelled as they spell the others, and left out where that follows no rule (accession numbers).
    In the order of the FASTA, contigs that it lacks last.
    """
    present = dict.fromkeys(re.findall(r"^##contig=<(?:.*,)?ID=([^,>]+)", "\n".join(header), flags=re.MULTILINE))
    names = [name for name in dict.fromkeys(names) if _CONTIG_NAME.fullmatch(name)]
    contig_of = {name: genome.resolve(name) for name in (*names, *present)}
    spell = _spelling(contig_of, genome)
    for contig in genome.contigs.keys() - contig_of.values():
        if name := spell(contig):
            contig_of[name] = contig
    place = {contig: place for place, contig in enumerate(genome.contigs)}
    lacking = [(place.get(contig or "", len(place)), name) for name, contig in contig_of.items() if name not in present]
    lengths = {name: f",length={genome.contigs[contig]}" for name, contig in contig_of.items() if contig}
    return [f"##contig=<ID={name}{lengths.get(name, '')}>" for _, name in sorted(lacking)]


def _spelling(contig_of: dict[str, str | None], genome: Genome) -> Callable[[str], str | None]:
    """How a VCF that spells these contigs so would spell another one of the FASTA."""
    known = next((name for name, contig in contig_of.items() if contig), None)
    if known is None or known in genome.contigs:
        return lambda contig: contig
    has_prefix = known[:3].lower() == "chr"
    if not has_prefix and plain_name(known) != known:
        return lambda contig: None

    def spell(contig: str) -> str | None:
        bare = plain_name(contig)
        name = f"chr{'M' if bare == 'MT' else bare}" if has_prefix else bare
        return name if genome.resolve(name) == contig else None

    return spell
