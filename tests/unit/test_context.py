"""Region, GC and repeat class: hand-worked on both strands, and a slow reference implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from data_contracts import GeneAnnotation, RepeatAnnotation, validate
from geno_model.genomics.annotation_io import read_genes
from geno_model.genomics.consequence import MISSENSE, NONSENSE, NOT_CODING, SYNONYMOUS, UNKNOWN
from geno_model.genomics.context import SEVERITY, Context, gc_bin, gc_terciles
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from tests.unit.test_consequence import RC, mirror, phases, random_edits, random_segments, slow_consequence

Edit = tuple[int, int, str]  # start_bp, end_bp, alternate bases
Transcript = tuple[str, list[tuple[int, int]], tuple[int, int] | None]  # strand, exons, (CDS start, CDS end)

#      1200   1205   1210          1222     1229   1233
FLANK = "A" * 1_200
GENE = FLANK + "CCCCC" + "ATGGC" + "GTAAAAAAAAAG" + "TTGGTAA" + "CCCC" + FLANK
EXONS, CDS = [(1200, 1210), (1222, 1233)], (1205, 1229)

HAND_WORKED: list[tuple[Edit, str]] = [
    ((199, 200, "C"), "intergenic"),
    ((200, 201, "C"), "promoter"),
    ((1199, 1200, "C"), "promoter"),
    ((1200, 1201, "G"), "utr5"),
    ((1200, 1200, "GG"), "utr5"),  # before the first exon: its edge is inside
    ((1205, 1205, "GG"), "utr5"),  # between UTR and start codon
    ((1205, 1206, "G"), "coding_nonsense"),
    ((1204, 1206, ""), "coding_nonsense"),
    ((1208, 1209, "C"), "coding_missense"),
    ((1209, 1211, ""), "splice"),  # over the exon's end
    ((1206, 1212, ""), "coding_nonsense"),  # ... and into the start codon
    ((1210, 1210, "CC"), "splice"),  # exon | GT
    ((1210, 1211, "A"), "splice"),
    ((1211, 1211, "CC"), "splice"),  # G | T
    ((1211, 1212, "A"), "splice"),
    ((1212, 1212, "CC"), "intron"),  # GT | intron
    ((1212, 1213, "C"), "intron"),
    ((1219, 1220, "C"), "intron"),
    ((1220, 1220, "CC"), "intron"),  # intron | AG
    ((1220, 1221, "C"), "splice"),
    ((1221, 1221, "CC"), "splice"),  # A | G
    ((1221, 1222, "C"), "splice"),
    ((1222, 1222, "CC"), "splice"),  # AG | exon
    ((1222, 1223, "C"), "coding_synonymous"),
    ((1225, 1226, "A"), "coding_nonsense"),
    ((1223, 1226, ""), "coding_missense"),
    ((1227, 1231, ""), "coding_missense"),  # stop lost
    ((1229, 1229, "GG"), "utr3"),
    ((1229, 1230, "G"), "utr3"),
    ((1232, 1233, "G"), "utr3"),
    ((1233, 1234, "C"), "intergenic"),
]


def genome_of(folder: Path, **contigs: str) -> Genome:
    fasta = folder / "reference.fa"
    fasta.write_text("".join(f">{name}\n{bases}\n" for name, bases in contigs.items()))
    return Genome.open(fasta, folder / "cache")


def genes_of(transcripts: list[Transcript], contig: str = "chr1") -> pl.DataFrame:
    rows = []
    for i, (strand, exons, coding) in enumerate(transcripts):
        first, last = coding or (0, 0)
        cds = [(max(start, first), min(end, last)) for start, end in exons if max(start, first) < min(end, last)]
        features = [("transcript", exons[0][0], exons[-1][1], None), *(("exon", *exon, None) for exon in exons)]
        features += [("CDS", *segment, phase) for segment, phase in zip(cds, phases(strand, cds), strict=True)]
        rows += [(contig, start, end, strand, name, f"t{i}", "G", None, phase) for name, start, end, phase in features]
    types = {"start_bp": pl.Int64, "end_bp": pl.Int64, "phase": pl.Int64}
    names = list(GeneAnnotation.to_schema().columns)
    schema = {name: types.get(name, pl.String) for name in names}
    return validate(GeneAnnotation, pl.DataFrame(rows, schema=schema, orient="row"))


def repeats_of(rows: list[tuple[str, int, int, str]]) -> pl.DataFrame:
    return validate(
        RepeatAnnotation,
        pl.DataFrame(rows, schema=["contig", "start_bp", "end_bp", "repeat_class"], orient="row"),
    )


def alleles_of(bases: str, edits: list[Edit], contig: str = "chr1") -> pl.DataFrame:
    """VCF alleles: an insertion or deletion gets the base before it as anchor."""
    rows = []
    for start, end, alt in edits:
        start, alt = (start, alt) if start < end and alt else (start - 1, bases[start - 1] + alt)
        rows.append((contig, start + 1, bases[start:end], alt, 0, 0, len(bases)))
    names = ["contig", "pos", "ref", "alt", "edit_type", "window_start_bp", "window_end_bp"]
    return pl.DataFrame(rows, schema=names, orient="row")


def regions(context: Context, bases: str, edits: list[Edit]) -> list[str]:
    return context.annotate(alleles_of(bases, edits))["region_class"].to_list()


def test_hand_worked_on_the_forward_strand(tmp_path: Path) -> None:
    context = Context.build(genes_of([("+", EXONS, CDS)]), None, genome_of(tmp_path, chr1=GENE))
    edits = [edit for edit, _ in HAND_WORKED]
    assert dict(zip(edits, regions(context, GENE, edits), strict=True)) == dict(HAND_WORKED)


def test_hand_worked_on_the_reverse_strand(tmp_path: Path) -> None:
    n, bases = len(GENE), GENE.translate(RC)[::-1]
    exons = [(n - end, n - start) for start, end in reversed(EXONS)]
    genes = genes_of([("-", exons, (n - CDS[1], n - CDS[0]))])
    edits = [mirror(n, edit) for edit, _ in HAND_WORKED]
    found = regions(Context.build(genes, None, genome_of(tmp_path, chr1=bases)), bases, edits)
    assert dict(zip(edits, found, strict=True)) == dict(zip(edits, [name for _, name in HAND_WORKED], strict=True))


def test_the_most_severe_transcript_counts(tmp_path: Path) -> None:
    genome = genome_of(tmp_path, chr1=GENE)
    edits: list[Edit] = [(1222, 1223, "C"), (1215, 1216, "C"), (1300, 1301, "C"), (1229, 1230, "G"), (600, 601, "C")]
    noncoding: Transcript = ("-", [(1100, 1217), (1224, 1400)], None)
    alone = Context.build(genes_of([noncoding]), None, genome)
    assert regions(alone, GENE, edits) == ["splice", "other", "other", "other", "intergenic"]
    both = Context.build(genes_of([noncoding, ("+", EXONS, CDS)]), None, genome)
    assert regions(both, GENE, edits) == ["splice", "intron", "other", "utr3", "promoter"]


def test_without_annotation_nothing_is_known(tmp_path: Path) -> None:
    genome = genome_of(tmp_path, chr1=GENE, chr2=GENE)
    found = Context.build(None, None, genome).annotate(alleles_of(GENE, [(1205, 1206, "G")]))
    assert found.select("region_class", "repeat_class").rows() == [("other", "none")]
    # A contig that the annotation does not mention is not known to be empty.
    context = Context.build(genes_of([("+", EXONS, CDS)]), None, genome)
    assert context.annotate(alleles_of(GENE, [(50, 51, "G")], "chr2"))["region_class"].to_list() == ["other"]
    assert context.annotate(alleles_of(GENE, [])).height == 0


@pytest.mark.parametrize("strand", ["+", "-"])
def test_incomplete_codons_are_coding(strand: str, tmp_path: Path) -> None:
    """A GTF whose coding sequence has phase 2 from 10001: ?GC ATG GCT TA?."""
    bases = "C" * 10_000 + "GCATGGCTTA" + "C" * 2_000
    n = len(bases)
    edits = [(9_999, 10_000, "A"), *((10_000 + i, 10_001 + i, "G" if i else "A") for i in (0, 1, 2, 7, 9))]
    edits += [(10_000, 10_001, ""), (10_010, 10_011, "A")]
    expected = ["utr5", "coding_missense", "coding_missense", "coding_missense", "coding_synonymous"]
    expected += ["coding_missense", "coding_nonsense", "utr3"]
    spans = {"exon": (9_991, 10_020, "."), "CDS": (10_001, 10_010, "2")}
    if strand == "-":
        bases, edits = bases.translate(RC)[::-1], [mirror(n, edit) for edit in edits]
        spans = {name: (n + 1 - end, n + 1 - start, phase) for name, (start, end, phase) in spans.items()}
    lines = [
        "\t".join(("chr1", "t", name, str(start), str(end), ".", strand, phase, 'transcript_id "T";'))
        for name, (start, end, phase) in spans.items()
    ]
    (tmp_path / "genes.gtf").write_text("\n".join(lines) + "\n")
    genome = genome_of(tmp_path, chr1=bases)
    assert regions(Context.build(read_genes(tmp_path / "genes.gtf", genome), None, genome), bases, edits) == expected


def test_a_selenocysteine_that_the_annotation_names(tmp_path: Path) -> None:
    bases = "GCCTGACTG"  # no start, no stop: without the annotation's word a stop
    genome = genome_of(tmp_path, chr1=bases)
    line = 'chr1\tt\t{}\t{}\t{}\t.\t+\t{}\ttranscript_id "T";\n'
    for name, expected in (("Selenocysteine", "coding_nonsense"), ("start_codon", "coding_synonymous")):
        (tmp_path / "genes.gtf").write_text(line.format("CDS", 1, 9, 0) + line.format(name, 4, 6, "."))
        context = Context.build(read_genes(tmp_path / "genes.gtf", genome), None, genome)
        assert regions(context, bases, [(4, 5, "A")]) == [expected]


def test_mitochondria_have_their_own_code(tmp_path: Path) -> None:
    bases = "ATGTGGAGCTAA"
    genome = genome_of(tmp_path, chrM=bases, chr1=bases)
    transcript: list[Transcript] = [("+", [(0, 12)], (0, 12))]
    context = Context.build(pl.concat([genes_of(transcript, "chrM"), genes_of(transcript)]), None, genome)
    alleles = pl.concat([alleles_of(bases, [(5, 6, "A")], contig) for contig in ("chrM", "chr1")])
    assert context.annotate(alleles)["region_class"].to_list() == ["coding_synonymous", "coding_nonsense"]


def test_repeats(tmp_path: Path) -> None:
    spans = [("chr1", 10, 20, "transposon"), ("chr1", 15, 18, "simple"), ("chr1", 40, 50, "segmental_dup")]
    context = Context.build(None, repeats_of(spans), genome_of(tmp_path, chr1=GENE))
    edits: list[Edit] = [
        (9, 10, "C"),
        (10, 11, "C"),
        (16, 17, "C"),
        (20, 21, "C"),
        (8, 11, ""),
        (40, 40, "C"),
        (39, 39, "C"),
    ]
    found = context.annotate(alleles_of(GENE, edits))["repeat_class"].to_list()
    assert found == ["none", "transposon", "simple", "none", "transposon", "segmental_dup", "none"]


def test_gc_counts_known_bases_only(tmp_path: Path) -> None:
    bases = "GGCCAATTNN" + "NNNNNNNNNN" + "GATTTTTTTT"
    rows = [("chr1", 1, "G", "A", start, end) for start, end in [(0, 10), (20, 30), (10, 20), (0, 10), (4, 30)]]
    names = ["contig", "pos", "ref", "alt", "window_start_bp", "window_end_bp"]
    context = Context.build(None, None, genome_of(tmp_path, chr1=bases))
    gc = context.annotate(pl.DataFrame(rows, schema=names, orient="row"))["gc"].to_numpy()
    np.testing.assert_array_equal(gc, np.array([0.5, 0.1, np.nan, 0.5, 1 / 14], dtype=np.float32))


def test_gc_bins() -> None:
    edges = gc_terciles(np.arange(10, dtype=np.float32))
    assert edges == (3.0, 6.0)
    assert gc_bin(np.array([0, 2.9, 3, 5.9, 6, 9]), edges).tolist() == [0, 0, 1, 1, 2, 2]
    with pytest.raises(ValueError, match="1 of 2 GC values are NaN"):
        gc_bin(np.array([np.nan, 1]), edges)
    with pytest.raises(ValueError, match="out of order"):
        gc_bin(np.array([1.0]), (6.0, 3.0))
    with pytest.raises(ValueError, match="empty"):
        gc_terciles(np.array([]))


def test_rows_and_order_are_kept(tmp_path: Path) -> None:
    genome = genome_of(tmp_path, chr1=GENE, chr2=GENE)
    context = Context.build(genes_of([("+", EXONS, CDS)]), None, genome)
    edits = [edit for edit, _ in HAND_WORKED]
    alleles = pl.concat([alleles_of(GENE, edits), alleles_of(GENE, edits, "chr2")]).sample(
        fraction=1, shuffle=True, seed=0
    )
    found = context.annotate(alleles)
    assert found.select(alleles.columns).equals(alleles)
    assert found.columns == [*alleles.columns, "region_class", "gc", "repeat_class"]
    alone = pl.concat([context.annotate(alleles[i : i + 1]) for i in range(alleles.height)])
    assert found.equals(alone)
    with pytest.raises(ValueError, match="lack the columns window_start_bp, window_end_bp"):
        context.annotate(alleles.drop("window_start_bp", "window_end_bp"))


def test_saved_and_loaded_for_another_naming(tmp_path: Path) -> None:
    genome = genome_of(tmp_path, chr1=GENE, chr2=GENE)
    genes = genes_of([("+", EXONS, CDS)])
    context = Context.build(genes, repeats_of([("chr1", 0, 9, "simple")]), genome)
    context = context.with_gc_edges((0.25, 0.5))
    for folder in ("a", "b"):
        context.save(tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["context.json", "genes.parquet", "repeats.parquet"]
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)

    (tmp_path / "other").mkdir()
    other = genome_of(tmp_path / "other", **{"1": GENE})
    edits = [edit for edit, _ in HAND_WORKED]
    loaded = Context.load(tmp_path / "a", other)
    assert loaded.gc_edges == (0.25, 0.5)
    found = loaded.annotate(alleles_of(GENE, edits, "1")).drop("contig")
    assert found.equals(context.annotate(alleles_of(GENE, edits)).drop("contig"))

    Context.build(None, None, genome).save(tmp_path / "empty")
    assert regions(Context.load(tmp_path / "empty", genome), GENE, edits[:1]) == ["other"]
    assert Context.load(tmp_path / "empty", genome).gc_edges is None


def test_faults_are_named(tmp_path: Path) -> None:
    genome = genome_of(tmp_path, chr1=GENE)
    with pytest.raises(InputError, match="annotation has contig chr9"):
        Context.build(genes_of([("+", EXONS, CDS)], "chr9"), None, genome)
    with pytest.raises(InputError, match="reaches 5000 on chr1, which has 2433 bp"):
        Context.build(genes_of([("+", [(10, 5_000)], None)]), None, genome)
    with pytest.raises(InputError, match="incomplete: .*context.json"):
        Context.load(tmp_path / "absent", genome)
    Context.build(genes_of([("+", EXONS, CDS)]), None, genome).save(tmp_path / "a")
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match="none of the contigs"):
        Context.load(tmp_path / "a", genome_of(tmp_path / "other", chr7=GENE))
    (tmp_path / "a" / "context.json").write_text('{"format_version": 99, "gc_edges": null}')
    with pytest.raises(InputError, match="has format 99"):
        Context.load(tmp_path / "a", genome)


# --- the slow, obvious way: one edit, one transcript, one base at a time


def slow_region(bases: str, edit: Edit, transcripts: list[Transcript]) -> str:
    start, end, _ = edit
    touched = set(range(start, end)) or {start - 1, start}
    needed = 1 if start < end else 2  # an insertion is inside when both its neighbours are
    found, consequences = {"intergenic"}, [NOT_CODING]
    for strand, exons, coding in transcripts:
        inside = {p for a, b in exons for p in range(a, b)}
        first, last = exons[0][0], exons[-1][1]
        introns = [(a[1], b[0]) for a, b in zip(exons, exons[1:], strict=False)]
        if coding:
            clipped = [(max(a, coding[0]), min(b, coding[1])) for a, b in exons]
            consequence = slow_consequence(bases, strand, [(a, b) for a, b in clipped if a < b], edit)
            consequences.append(consequence)
            left = bool(touched & {p for p in inside if p < coding[0]})
            right = bool(touched & {p for p in inside if p >= coding[1]})
            found |= {"utr5"} if (left if strand == "+" else right) else set()
            found |= {"utr3"} if (right if strand == "+" else left) else set()
        promoter = range(first - 1_000, first) if strand == "+" else range(last, last + 1_000)
        found |= {"promoter"} if touched & set(promoter) else set()
        found |= {"other"} if touched & inside else set()
        for a, b in introns:
            if start == end:
                found |= {"splice"} if start in (a, a + 1, b - 1, b) else set()
            elif touched & (set(range(a, min(a + 2, b))) | set(range(max(b - 2, a), b))):
                found.add("splice")
            found |= {"intron"} if len(touched & set(range(a, b))) >= needed else set()
    names = {NONSENSE: "nonsense", MISSENSE: "missense", SYNONYMOUS: "synonymous", UNKNOWN: "missense"}
    found |= {f"coding_{names[min(consequences)]}"} if min(consequences) != NOT_CODING else set()
    return min(found, key=SEVERITY.index)


@pytest.mark.parametrize("seed", range(15))
def test_against_the_slow_implementation(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    length = 2_400
    bases = "".join(rng.choice(list("ACGT"), length))
    transcripts: list[Transcript] = []
    for _ in range(3):
        exons = [(a + 1_100, b + 1_100) for a, b in random_segments(rng, 120)]
        # Introns of 3 bp and more: in shorter ones the place of an insertion is no matter of this test.
        exons = [exon for i, exon in enumerate(exons) if i == 0 or exon[0] - exons[i - 1][1] > 2]
        inside = [p for a, b in exons for p in range(a, b)]
        first, last = sorted(rng.choice(len(inside), 2)) if len(inside) > 1 else (0, 0)
        coding = (inside[first], inside[last] + 1) if rng.random() < 0.8 else None
        transcripts.append((str(rng.choice(["+", "-"])), exons, coding))
    edits = [(p, p + 1, base) for p in range(1_080, 1_240) for base in "ACGT" if base != bases[p]]
    shifted = [(start + 1_095, end + 1_095, alt) for start, end, alt in random_edits(rng, 130, 300)]
    # Only alleles whose ends differ from the reference: shared ends would be trimmed, and judged as another edit.
    edits += [
        e for e in shifted if e[0] == e[1] or not e[2] or (e[2][0] != bases[e[0]] and e[2][-1] != bases[e[1] - 1])
    ]
    edits += [
        (start, start + 1, "ACGT"["CGTA".index(bases[start])]) for start in rng.integers(50, length - 50, 100).tolist()
    ]
    found = regions(Context.build(genes_of(transcripts), None, genome_of(tmp_path, chr1=bases)), bases, edits)
    for edit, region in zip(edits, found, strict=True):
        assert region == slow_region(bases, edit, transcripts), (edit, transcripts)
