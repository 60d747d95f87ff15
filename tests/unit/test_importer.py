"""Exports become the records worked out by hand, and each row has one outcome."""

from __future__ import annotations

import gzip
import re
import zipfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pysam
import pytest

from geno_model.genomics.genome import Genome
from geno_model.importing.errors import ExportError, NothingWrittenError
from geno_model.importing.genotypes import OUTCOMES
from geno_model.importing.import_export import import_export
from geno_model.importing.ploidy import Sex
from tests.shared_data import SHARED, needs_shared_data
from tests.unit.exports import (
    HEADER_23ANDME,
    LAYOUTS,
    Importer,
    Row,
    some,
    text_23andme,
    text_ancestry,
    text_illumina,
    write_genome,
)

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
    "chrM 16 rs16 T C 1",
]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    return Genome.open(write_genome(folder / "ref.fa"), cache_dir=folder / "cache")


@pytest.fixture
def run(tmp_path: Path, genome: Genome) -> Importer:
    return Importer(tmp_path, genome)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_layout_gives_the_same_records(layout: str, run: Importer) -> None:
    found, summary = run(LAYOUTS[layout](ROWS))
    assert found == RECORDS
    assert some(summary) == {"written": 7, "hom_ref": 2, "no_call": 1, "indel_code": 1}
    assert summary.n_rows == len(ROWS) and summary.n_flipped == 0
    assert summary.notes[0] == "the build could not be checked: only 9 called genotypes lie on known bases"
    assert len(summary.notes) == 2 + (layout == "AncestryDNA")  # the build's PAR, and chromosome codes


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
    named = [("a", "chrX", "1", "GG"), ("b", "y", "2", "TT"), ("c", "PAR", "3", "AA"), ("d", "M", "4", "CC")]
    records, summary = run(text_23andme(named))
    assert records == ["chrX 1 a A G 1/1", "chrX 3 c G A 1/1", "chrY 2 b C T 1/1", "chrM 4 d T C 1"]
    assert not any("PLINK" in note for note in summary.notes)
    records_by_code, summary = run(text_ancestry(rows))
    assert records_by_code == records
    assert [note for note in summary.notes if "PLINK" in note] == [
        "contigs that the FASTA lacks are read by PLINK's codes: 23 as chrX, 24 as chrY, 25 as chrX "
        "(pseudo-autosomal), 26 as chrM"
    ]


BUILD_37 = "# human reference build 37\n"
PAR_1 = (60_001, 2_699_520)  # of X in GRCh37, 1-based


@pytest.fixture(scope="module")
def with_par(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    """X and Y up to a little behind PAR1, MT."""
    folder = tmp_path_factory.mktemp("par")
    contigs = {"X": PAR_1[1] + 5_000, "Y": 2_700_000, "MT": 16_569}
    return Genome.open(write_genome(folder / "ref.fa", contigs), cache_dir=folder / "cache")


def of_x(n_heterozygous: int, n: int = 200) -> list[Row]:
    """Called genotypes of X behind PAR1, at positions that hold A, the first ones heterozygous."""
    first = PAR_1[1] + 1  # holds A
    return [(f"x{i}", "X", str(first + 4 * i), "AG" if i < n_heterozygous else "AA") for i in range(n)]


OF_Y: list[Row] = [(f"y{i}", "Y", str(2_650_001 + 4 * i), "AA") for i in range(40)]
EDGES: list[Row] = [
    ("before", "X", str(PAR_1[0] - 4), "GG"),  # 59,997
    ("par_first", "X", str(PAR_1[0]), "GG"),
    ("par_last", "X", str(PAR_1[1]), "CC"),
    ("code", "XY", str(PAR_1[1] + 2_001), "GG"),
    ("par_y", "Y", "10001", "GG"),
    ("mt", "MT", "1", "GG"),
    ("mt_2", "MT", "5", "AG"),
]


def genotypes(run: Importer, rows: list[Row], sex: Sex = "auto") -> tuple[dict[str, str], list[str]]:
    """Genotype by marker, and the notes about copies."""
    records, summary = run(BUILD_37 + text_23andme(rows), sex=sex, all_sites=True)
    found = {line.split()[2]: line.split()[5] for line in records}
    return found, [note for note in summary.notes if "copy" in note or "X and Y" in note]


def test_a_man_has_one_copy_of_x_y_and_mt(tmp_path: Path, with_par: Genome) -> None:
    run = Importer(tmp_path, with_par)
    found, notes = genotypes(run, [*EDGES, *of_x(2), *OF_Y])
    edges = {
        "before": "1",
        "par_first": "1/1",
        "par_last": "1/1",
        "code": "1/1",
        "par_y": "1/1",
        "mt": "1",
        "mt_2": "0/1",
    }
    assert {name: found[name] for name in edges} == edges
    assert [found[f"x{i}"] for i in (0, 1, 2, 199)] == ["0/1", "0/1", "0", "0"] and found["y0"] == "0"
    assert notes == [
        "X is written with one copy, as a man has it (2 of 201 genotypes of X outside its pseudo-autosomal regions are "
        "heterozygous, and 40 of Y are called); --sex female if that is wrong",
        "3 heterozygous genotypes where one copy is expected (X, Y, MT) are written with both",
    ]
    # 23andMe writes one letter: the same records.
    single = [
        (name, chrom, pos, text[0] if text[0] == text[1] else text) for name, chrom, pos, text in [*of_x(2), *OF_Y]
    ]
    assert genotypes(run, [*EDGES, *single])[0] == found
    with pysam.VariantFile(str(run.out)) as file:
        assert {len(record.samples[0]["GT"]) for record in file} == {1, 2}


@pytest.mark.parametrize(
    ("rows", "sex", "x", "y", "note"),
    [
        ([*of_x(40), *OF_Y[:5]], "auto", "0/0", "0", None),  # a woman, with stray calls on Y
        ([*of_x(0), *OF_Y[:5]], "auto", "0/0", "0", "not clear (0 of 200 .* and 5 of Y are called); --sex says"),
        ([*of_x(0, n=20), *OF_Y], "auto", "0/0", "0", "not clear (0 of 20 "),
        ([*of_x(0, n=20), *OF_Y], "male", "0", "0", None),
        ([*of_x(0), *OF_Y], "female", "0/0", "0/0", None),
    ],
)
def test_sex_is_told_when_it_is_clear_or_given(
    rows: list[Row], sex: Sex, x: str, y: str, note: str | None, tmp_path: Path, with_par: Genome
) -> None:
    found, notes = genotypes(Importer(tmp_path, with_par), rows, sex=sex)
    assert (found[rows[-1][0]], found[[row[0] for row in rows if row[1] == "X"][-1]]) == (y, x)
    assert len(notes) == (note is not None)
    assert not note or re.search(re.escape(note).replace(re.escape(".*"), ".*"), notes[0])


def test_without_a_known_build_x_and_y_stay_as_they_are(run: Importer) -> None:
    found, summary = run(
        text_23andme([("a", "X", "1", "GG"), ("b", "Y", "1", "GG"), ("c", "MT", "1", "GG")]), sex="male"
    )
    assert [line.split()[5] for line in found] == ["1/1", "1/1", "1"]
    assert any("pseudo-autosomal regions are known for GRCh37 and GRCh38 alone" in note for note in summary.notes)


@pytest.mark.parametrize(
    "strands", [["Plus"], ["Top", "Plus"], ["Top", "AB", "Forward", "Plus", "Design"], ["Plus", "Top"]]
)
@pytest.mark.parametrize("separator", ["\t", ","])
def test_an_illumina_report_is_read_by_its_plus_strand(strands: list[str], separator: str, run: Importer) -> None:
    found, summary = run(text_illumina(ROWS, strands).replace("\t", separator))
    assert found == RECORDS and summary.n_rows == len(ROWS)
    assert summary.layout.startswith("Illumina, ")


@pytest.mark.parametrize(
    ("strands", "told"),
    [
        (["Top"], "as Top, which"),
        (["Forward"], "as Forward, which"),
        (["AB", "Top", "Design"], "as AB, Top, Design, which"),
    ],
)
def test_an_illumina_report_without_the_plus_strand_is_refused(strands: list[str], told: str, run: Importer) -> None:
    with pytest.raises(
        ExportError, match=f"an Illumina report with alleles {told} .* export it with .* Allele1 - Plus"
    ):
        run(text_illumina(ROWS, strands))
    assert not run.out.exists()


def test_one_of_several_samples_is_chosen_by_id_or_number(run: Importer) -> None:
    other: list[Row] = [("rs2", "1", "2", "TT")]
    report = text_illumina(ROWS, samples=["Ada"]) + "".join(
        line + "\r\n" for line in text_illumina(other, samples=["Bob"]).splitlines()[6:]
    )
    with pytest.raises(
        ExportError, match=r"holds 2 samples; choose one with --sample, .* 1 to 2 in the order"
    ) as error:
        run(report)
    assert "Ada" not in str(error.value) and "Bob" not in str(error.value)
    assert run(report, sample="Ada")[0] == run(report, sample="1")[0] == RECORDS
    found, summary = run(report, sample="Bob")
    assert found == run(report, sample="2")[0] == ["chr1 2 rs2 C T 1/1"] and summary.n_rows == 1
    for wrong in ("Eve", "0", "3", ""):
        with pytest.raises(ExportError, match="holds 2 samples, and not the one that --sample names; choose") as error:
            run(report, sample=wrong)
        assert "Eve" not in str(error.value)
    with pytest.raises(ExportError, match="holds 1 sample, and not the one"):
        run(text_illumina(ROWS), sample="2")
    with pytest.raises(ExportError, match="names no samples, .* --sample-name names the column"):
        run(text_23andme(ROWS), sample="1")


def test_a_preamble_without_data_is_refused(run: Importer) -> None:
    with pytest.raises(ExportError, match=r"has a \[Header\] and no \[Data\]"):
        run(text_illumina(ROWS).replace("[Data]", "[Manifest]"))


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
