"""Exports become the records worked out by hand, and each row has one outcome."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pysam
import pytest

from geno_model.genomics.genome import Genome
from geno_model.importing.errors import ExportBuildError, NothingWrittenError
from geno_model.importing.genotypes import OUTCOMES, Strand
from geno_model.importing.import_export import ImportSummary, import_export
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.exports import HEADER_23ANDME, LAYOUTS, Row, base, text_23andme, text_ancestry, write_genome

ROWS: list[Row] = [
    ("rs30", "X", "30", "CC"),  # unsorted; X:30 is C: homozygous reference
    ("rs31", "X", "31", "AG"),  # G
    ("rs2", "1", "2", "CT"),  # C
    ("rs3", "1", "3", "AA"),  # G
    ("rs1", "1", "1", "AA"),  # A: homozygous reference
    ("rs8", "1", "8", "AT"),  # T, a palindrome: taken as plus
    ("rs5", "1", "5", "--"),
    ("rs6", "1", "6", "DI"),
    ("rs7", "1", "7", "GA"),  # G; the order of alleles is none
    ("rs20", "2", "20", "GG"),  # T
    ("rs16", "MT", "16", "CC"),  # T
]
RECORDS = [
    "chr2 20 rs20 T G 1/1",
    "chr1 2 rs2 C T 0/1",
    "chr1 3 rs3 G A 1/1",
    "chr1 7 rs7 G A 0/1",
    "chr1 8 rs8 T A 0/1",
    "chrX 31 rs31 G A 0/1",
    "chrM 16 rs16 T C 1/1",
]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    return Genome.open(write_genome(folder / "ref.fa"), cache_dir=folder / "cache")


class Importer:
    """Writes an export, imports it, and keeps what came of it."""

    def __init__(self, folder: Path, genome: Genome) -> None:
        self.folder, self.genome = folder, genome
        self.out = folder / "out.vcf"

    def __call__(
        self, export: str | bytes, *, strand: Strand = "auto", all_sites: bool = False
    ) -> tuple[list[str], ImportSummary]:
        path = self.folder / "export"
        path.write_bytes(export.encode() if isinstance(export, str) else export)
        summary = import_export(path, self.genome, self.out, strand=strand, all_sites=all_sites)
        assert sum(summary.outcomes.values()) == summary.n_rows
        return records(self.out), summary


@pytest.fixture
def run(tmp_path: Path, genome: Genome) -> Importer:
    return Importer(tmp_path, genome)


def records(path: Path) -> list[str]:
    """`contig pos id ref alt gt` of each record."""
    lines = [line.split("\t") for line in path.read_text().splitlines() if not line.startswith("#")]
    assert all(line[5:9] == [".", ".", ".", "GT"] for line in lines)
    return [" ".join((*line[:5], line[9])) for line in lines]


def some(summary: ImportSummary) -> dict[str, int]:
    """The outcomes that occurred."""
    return {name: count for name, count in summary.outcomes.items() if count}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_records(layout: str, run: Importer) -> None:
    found, summary = run(LAYOUTS[layout](ROWS))
    assert found == RECORDS
    assert some(summary) == {"written": 7, "hom_ref": 2, "no_call": 1, "indel_code": 1}
    assert summary.n_rows == len(ROWS) and summary.n_flipped == 0
    assert summary.notes == ["the build could not be checked: only 9 called genotypes lie on known bases"]


def zipped(content: bytes) -> bytes:
    packed = BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("genome/", b"")
        archive.writestr("genome/export.txt", content)
        archive.writestr("__MACOSX/genome/._export.txt", b"\0\1")
    return packed.getvalue()


WRAPPINGS: dict[str, Callable[[str], bytes]] = {
    "windows": lambda text: text.replace("\n", "\r\n").encode(),
    "old mac": lambda text: text.replace("\n", "\r").encode(),
    "no last line end": lambda text: text.rstrip("\n").encode(),
    "blank lines": lambda text: text.replace("\n", "\n\n").encode(),
    "BOM": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "latin-1 comment": lambda text: b"# Jos\xe9\n" + text.encode(),
    "gzip": lambda text: gzip.compress(text.encode()),
    "zip": lambda text: zipped(text.encode()),
    "quotes": lambda text: "\n".join(
        line if line.startswith("#") else "\t".join(f'"{cell}"' for cell in line.split("\t"))
        for line in text.splitlines()
    ).encode(),
    "doubled quotes": lambda text: "\n".join(
        f'"{line}"'.replace("\t", '""\t""') for line in text.splitlines()
    ).encode(),
    "spaces": lambda text: text.replace("\t", "   ").encode(),
    "semicolons": lambda text: text.replace("\t", ";").encode(),
    "lower case": lambda text: "".join(
        line if "#" in line else line.replace(line.rsplit("\t")[-1], line.rsplit("\t")[-1].lower())
        for line in text.splitlines(keepends=True)
    ).encode(),
    "no column line": lambda text: "".join(
        line for line in text.splitlines(keepends=True) if "chromosome" not in line
    ).encode(),
    "joined twice": lambda text: (text + "# rsid\tchromosome\tposition\tgenotype\n").encode(),
    "trailing separators": lambda text: text.replace("\n", "\t\n").encode(),
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_what_an_export_is_wrapped_in_changes_nothing(wrapping: str, run: Importer) -> None:
    plain, summary = run(text_23andme(ROWS))
    wrapped, again = run(WRAPPINGS[wrapping](text_23andme(ROWS)))
    assert wrapped == plain == RECORDS
    assert again.outcomes == summary.outcomes


def test_one_letter_is_one_copy(run: Importer) -> None:
    rows = [
        ("a", "X", "33", "G"),
        ("b", "Y", "6", "T"),
        ("c", "MT", "7", "G"),
        ("d", "MT", "9", "G"),
        ("e", "X", "5", "-"),
    ]
    expected = ["chrX 33 a A G 1", "chrY 6 b C T 1", "chrM 9 d A G 1"]
    for layout in ("23andMe", "alleles", "MyHeritage", "FTDNA"):
        found, summary = run(LAYOUTS[layout](rows))
        assert found == expected
        assert some(summary) == {"written": 3, "hom_ref": 1, "no_call": 1}
    assert run(text_23andme(rows), all_sites=True)[0] == [*expected[:2], "chrM 7 c G . 0", expected[2]]


def test_chromosome_codes(run: Importer) -> None:
    rows = [("a", "23", "1", "GG"), ("b", "24", "2", "TT"), ("c", "25", "3", "AA"), ("d", "26", "4", "CC")]
    assert run(text_ancestry(rows))[0] == [
        "chrX 1 a A G 1/1",
        "chrX 3 c G A 1/1",
        "chrY 2 b C T 1/1",
        "chrM 4 d T C 1/1",
    ]
    named = [("a", "chrX", "1", "GG"), ("b", "y", "2", "TT"), ("c", "PAR", "3", "AA"), ("d", "M", "4", "CC")]
    assert run(text_23andme(named))[0] == run(text_ancestry(rows))[0]


OUTCOME_ROWS: dict[str, list[tuple[Row, str]]] = {
    "written": [(("a", "1", "1", "AG"), "written")],
    "no_call": [
        ((f"n{i}", "1", "1", text), "no_call") for i, text in enumerate(("--", "00", "-", "0", "A-", "NN", ""))
    ],
    "indel_code": [((f"i{i}", "1", "1", text), "indel_code") for i, text in enumerate(("I", "D", "II", "DD", "DI"))],
    "contig_unknown": [((f"u{i}", name, "7", "AG"), "contig_unknown") for i, name in enumerate(("0", "--", "9", "27"))],
    "unplaced": [(("u", "--", "--", "AT"), "contig_unknown")],
    "out_of_range": [((f"o{i}", "1", pos, "AG"), "out_of_range") for i, pos in enumerate(("0", "401", "999999999999"))],
    "ambiguous_reference": [(("n", "1", "101", "AG"), "ambiguous_reference")],
    "duplicate": [
        (("a", "1", "1", "AG"), "written"),
        (("b", "1", "1", "GA"), "duplicate"),
        (("c", "1", "1", "CT"), "duplicate"),  # the same on the other strand
        (("d", "1", "1", "--"), "no_call"),
    ],
    "duplicate reference": [(("a", "1", "1", "AA"), "hom_ref"), (("a", "1", "1", "AA"), "duplicate")],
    "conflicting": [
        (("a", "1", "1", "AG"), "conflicting_duplicate"),
        (("b", "1", "1", "AG"), "conflicting_duplicate"),
        (("c", "1", "1", "GG"), "conflicting_duplicate"),
    ],
    "ploidy conflicts": [
        (("a", "1", "1", "G"), "conflicting_duplicate"),
        (("b", "1", "1", "GG"), "conflicting_duplicate"),
    ],
    "ref_mismatch": [(("a", "1", "1", "CG"), "ref_mismatch")],
    "malformed": [
        ((f"m{i}", "1", pos, text), "malformed")
        for i, (pos, text) in enumerate(
            [("x", "AG"), ("-1", "AG"), ("1.5", "AG"), ("", "AG"), ("1", "AGT"), ("1", "XY")]
        )
    ],
}


@pytest.mark.parametrize("name", OUTCOME_ROWS)
def test_each_row_has_one_outcome(name: str, run: Importer) -> None:
    rows = [("keep", "2", "1", "AG"), *(row for row, _ in OUTCOME_ROWS[name])]
    expected = dict.fromkeys(OUTCOMES, 0) | {"written": 1}
    for _, outcome in OUTCOME_ROWS[name]:
        expected[outcome] += 1
    found, summary = run(text_23andme(rows))
    assert summary.outcomes == expected
    assert len(found) == expected["written"] and found[0] == "chr2 1 keep A G 0/1"


def test_lines_with_missing_or_extra_columns_are_malformed(run: Importer) -> None:
    lines = "rs1\t1\t1\nrs2\t1\nrs3\nrs4\t1\t1\tAG\tmore\nrs5\t1\t5\tAG\n"
    found, summary = run(HEADER_23ANDME + lines)
    assert found == ["chr1 5 rs5 A G 0/1"]
    assert some(summary) == {"written": 1, "malformed": 4}


def test_names_that_are_repeated_or_not_allowed_become_a_dot(run: Importer) -> None:
    rows = [("rs1", "1", "1", "AG"), ("rs1", "1", "5", "AG"), ("a;b", "1", "9", "AG"), ("", "1", "13", "AG")]
    assert [line.split()[2] for line in run(text_23andme(rows))[0]] == ["rs1", ".", ".", "."]


def test_all_sites(run: Importer) -> None:
    found, summary = run(text_23andme(ROWS), all_sites=True)
    assert found == [RECORDS[0], "chr1 1 rs1 A . 0/0", *RECORDS[1:5], "chrX 30 rs30 C . 0/0", *RECORDS[5:]]
    assert summary.n_records == 9 and summary.outcomes["hom_ref"] == 2


COMPLEMENT = str.maketrans("ACGT", "TGCA")


def many(n: int = 40, *, minus: bool = False) -> list[Row]:
    """Rows of chr1 from position 1: seven of eight homozygous reference, the eighth heterozygous for a transition."""
    rows = []
    for pos in range(1, n + 1):
        other = {"A": "G", "G": "A", "C": "T", "T": "C"}[base(pos)] if pos % 8 == 0 else base(pos)
        genotype = base(pos) + other
        rows.append((f"rs{pos}", "1", str(pos), genotype.translate(COMPLEMENT) if minus else genotype))
    return rows


def test_an_export_on_the_minus_strand_is_turned(run: Importer) -> None:
    plus, there = run(text_23andme([*many(), ("a", "2", "1", "GG"), ("b", "2", "5", "TT"), ("c", "2", "9", "AT")]))
    minus, here = run(
        text_23andme([*many(minus=True), ("a", "2", "1", "CC"), ("b", "2", "5", "AA"), ("c", "2", "9", "AT")])
    )
    assert minus == plus
    assert plus[:3] == ["chr2 1 a A G 1/1", "chr2 5 b A T 1/1", "chr2 9 c A T 0/1"]
    assert plus[3:] == [f"chr1 {pos} rs{pos} T C 0/1" for pos in (8, 16, 24, 32, 40)]
    assert (there.n_flipped, there.fit.is_minus) == (0, False)
    assert (here.n_flipped, here.fit.is_minus) == (42, True)  # all but the pair of complements
    assert here.outcomes == there.outcomes and here.fit.n_fit == there.fit.n_fit == 41


def test_single_rows_on_the_other_strand_are_flipped_and_counted(run: Importer) -> None:
    rows = [*many(), ("f", "2", "1", "CT"), ("g", "2", "3", "TC"), ("p", "2", "5", "TT"), ("h", "2", "9", "CC")]
    found, summary = run(text_23andme(rows))
    # A with C/T is A/G of the other strand; G with T/C is A/G. Homozygous rows prove nothing alone: plus.
    assert found[:4] == ["chr2 1 f A G 0/1", "chr2 3 g G A 0/1", "chr2 5 p A T 1/1", "chr2 9 h A C 1/1"]
    assert summary.n_flipped == 2


def test_with_the_strand_named_two_alternates_are_one_record(run: Importer) -> None:
    rows = [*many(), ("a", "2", "1", "TC"), ("b", "2", "5", "GC"), ("c", "2", "3", "AC")]
    found, summary = run(text_23andme(rows), strand="plus")
    assert found[:3] == ["chr2 1 a A C,T 1/2", "chr2 3 c G A,C 1/2", "chr2 5 b A C,G 1/2"]
    assert summary.n_flipped == 0 and summary.outcomes["ref_mismatch"] == 0
    turned, summary = run(text_23andme([(*row[:3], row[3].translate(COMPLEMENT)) for row in rows]), strand="minus")
    assert turned == found


def test_mitochondrial_rows_need_the_length_of_the_usual_reference(tmp_path: Path) -> None:
    fasta = write_genome(tmp_path / "hg19.fa", {"chr1": 400, "chrM": 16_571})
    run = Importer(tmp_path, Genome.open(fasta, cache_dir=tmp_path / "cache"))
    found, summary = run(text_23andme([("a", "1", "1", "AG"), ("b", "MT", "1", "G"), ("c", "MT", "2", "-")]))
    assert found == ["chr1 1 a A G 0/1"]
    assert some(summary) == {"written": 1, "no_call": 1, "contig_unknown": 1}
    assert any(
        "1 rows of the mitochondrion" in note and "16,571 bases, not the 16,569" in note for note in summary.notes
    )


def test_the_header_has_contigs_source_and_sample(run: Importer) -> None:
    run(text_23andme(ROWS))
    lines = run.out.read_text().splitlines()
    assert lines[:2] == ["##fileformat=VCFv4.3", "##source=geno-import"]
    assert [line for line in lines if line.startswith("##contig")] == [
        f"##contig=<ID={name},length={length}>" for name, length in run.genome.contigs.items()
    ]
    assert lines[len(lines) - len(RECORDS) - 1].split("\t") == (
        ["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "SAMPLE"]
    )


def test_bgzip_has_an_index_and_the_same_records(run: Importer, tmp_path: Path) -> None:
    run(text_23andme(ROWS))
    packed = tmp_path / "out.vcf.gz"
    import_export(tmp_path / "export", run.genome, packed)
    assert gzip.decompress(packed.read_bytes()) == run.out.read_bytes()
    with pysam.VariantFile(str(packed)) as file:
        assert [(record.pos, record.samples[0]["GT"]) for record in file.fetch("chr1", 2, 8)] == [
            (3, (1, 1)),
            (7, (0, 1)),
            (8, (0, 1)),
        ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export", "out.vcf", "out.vcf.gz", "out.vcf.gz.tbi"]


def at(build: str, tmp_path: Path, shift: int = 0) -> Importer:
    """An importer whose FASTA has the length of chromosome 21 of a build, and A, C, G, T in turn."""
    length = {"GRCh37": 48_129_895, "GRCh38": 46_709_983}[build]
    fasta = tmp_path / f"{build}.fa"
    start = 400 + shift
    body = ("ACGT" * (start // 4 + 2))[shift : shift + 400]
    fasta.write_text(f">21\n{body}{'N' * (length - 400)}\n")
    return Importer(tmp_path, Genome.open(fasta, cache_dir=tmp_path / "cache"))


def on_21(rows: list[Row], said: str = "") -> str:
    header = (f"# {said}\n" if said else "") + "# rsid\tchromosome\tposition\tgenotype\n"
    return text_23andme([(name, "21", pos, genotype) for name, _, pos, genotype in rows], header)


def test_a_header_that_is_wrong_gives_way_to_the_bases(tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path)
    found, summary = run(on_21(many(), "human reference build 37.1 coordinates"))
    assert len(found) == 5
    assert summary.notes == [
        "its header says GRCh37, but 40 of 40 called genotypes hold the base that the FASTA has there, which is GRCh38: "
        "taken as GRCh38"
    ]
    assert "##contig=<ID=21,length=46709983,assembly=GRCh38>" in run.out.read_text()
    assert run(on_21(many(), "build 38"))[1].notes == []


@pytest.mark.parametrize(
    ("said", "extra", "told"),
    [
        ("reference human assembly build 37", [], "its header says GRCh37; the FASTA is GRCh38 by its contig lengths; use the FASTA of GRCh37"),
        ("", [("rs3094315", "1", "742429", "AG")], "positions of well-known markers in it are of NCBI36; the FASTA is GRCh38"),
        ("", [], "does not say its build; the FASTA is GRCh38 by its contig lengths; use the FASTA of the build of"),
    ],
)  # fmt: skip
def test_the_wrong_build_is_refused(said: str, extra: list[Row], told: str, tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path, shift=2)  # A meets G: a third of hets and no homozygote fits
    with pytest.raises(ExportBuildError) as caught:
        run(on_21(many(), said) + text_23andme(extra, ""))
    assert str(caught.value).startswith("only 5 of 40 called genotypes hold the base")
    assert told in str(caught.value)
    assert not run.out.exists()


def test_too_few_rows_to_tell_leave_it_to_the_header(tmp_path: Path) -> None:
    run = at("GRCh38", tmp_path)
    with pytest.raises(ExportBuildError, match="8 of 8 .* header says GRCh37"):
        run(on_21(many(8), "build 37"))
    assert len(run(on_21(many(8), "build 38"))[0]) == 1


def test_mixed_strands_are_refused(run: Importer) -> None:
    plus, minus = many(), many(minus=True)
    with pytest.raises(
        ExportBuildError, match="20 of 40 .* on one strand, and 40 on one or the other: .* mixes strands"
    ):
        run(text_23andme([pair[index % 2] for index, pair in enumerate(zip(plus, minus, strict=True))]))


def test_a_strand_named_wrongly_is_told(run: Importer) -> None:
    with pytest.raises(ExportBuildError, match="only 0 of 40 .* on the plus strand; 40 do on the other strand"):
        run(text_23andme(many(minus=True)), strand="plus")


def test_nothing_to_write_says_why(run: Importer) -> None:
    with pytest.raises(NothingWrittenError, match=r"none of 2 rows .* \(1 hom_ref, 1 no_call\); .* --all-sites"):
        run(text_23andme([("a", "1", "1", "AA"), ("b", "1", "2", "--")]))
    assert not run.out.exists()


@needs_shared_data
@pytest.mark.parametrize(
    ("name", "alternates", "outcomes"),
    [
        ("23andme.txt", 5, {"no_call": 1, "contig_unknown": 2}),
        ("23andme_allele.txt", 5, {"no_call": 1}),
        ("ancestry.txt", 5, {"no_call": 1}),
        ("ftdna.csv", 5, {"no_call": 1}),
        ("myheritage.csv", 5, {"no_call": 1}),
        ("ancestry_mt.txt", 1, {"no_call": 1}),
    ],
)
def test_vendors_examples(name: str, alternates: int, outcomes: dict[str, int], tmp_path: Path) -> None:
    # 1:101-108 hold T A G T A G T A: AA CC GG TT -- GC TC AT are 1/1, 1/1, reference, reference, no call, 0/1 thrice.
    contigs = {"1": "C" * 100 + "TAGTAGTA" + "C" * 200, "MT": "C" * 100 + "AAG" + "C" * 16_466}
    (tmp_path / "ref.fa").write_text("".join(f">{contig}\n{bases}\n" for contig, bases in contigs.items()))
    run = Importer(tmp_path, Genome.open(tmp_path / "ref.fa", cache_dir=tmp_path / "cache"))
    found, summary = run((SHARED / "vendors" / name).read_bytes())
    is_mt = name == "ancestry_mt.txt"
    assert some(summary) == {"written": alternates, "hom_ref": 1 if is_mt else 2} | outcomes
    assert found == (
        ["MT 103 rs3 G C 0/1"]
        if is_mt
        else [
            "1 101 rs1 T A 1/1",
            "1 102 rs2 A C 1/1",
            "1 106 rs6 G C 0/1",
            "1 107 rs7 T C 0/1",
            "1 108 rs8 A T 0/1",
        ]
    )
