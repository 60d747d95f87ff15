"""Published benchmark tables: every layout and file format, every reason, every input that is refused.

Expected values are by hand from one contig of 60 bases:

                 1         2         3         4         5         6
        123456789012345678901234567890123456789012345678901234567890
        GATTACAGATCCCCGTTGCAACGTAGCTAGGATACCATGCAAGTNCGATTTTGCATCGAC
"""

from __future__ import annotations

import gzip
from pathlib import Path

import openpyxl
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from geno_model.genomics.edits import EditType
from geno_model.genomics.errors import InputError
from geno_model.genomics.genome import Genome
from geno_pipeline.evaluation.layouts import SCHEMA, read_benchmark

BASES = "GATTACAGATCCCCGTTGCAACGTAGCTAGGATACCATGCAAGTNCGATTTTGCATCGAC"
FINDLAY = "gene,chromosome,position (hg19),reference,alt,consequence,function.score.mean,func.class"
PREAMBLE = ["Supplementary Table 1, scores of all variants, both replicates", ""]


@pytest.fixture(scope="module")
def genome(tmp_path_factory: pytest.TempPathFactory) -> Genome:
    folder = tmp_path_factory.mktemp("genome")
    (folder / "ref.fa").write_text(f">chr17\n{BASES}\n>chrX\nACGT\n")
    return Genome.open(folder / "ref.fa", cache_dir=folder / "cache")


def write(folder: Path, lines: list[str], name: str = "table.csv") -> Path:
    (folder / name).write_text("\n".join(lines) + "\n")
    return folder / name


def write_xlsx(folder: Path, sheets: dict[str, list[list[object]]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(folder / "table.xlsx")
    return folder / "table.xlsx"


def traitgym(folder: Path, rows: list[str]) -> Path:
    """A CSV of TraitGym's columns from rows of words: chrom pos ref alt label."""
    return write(folder, ["chrom,pos,ref,alt,label", *(row.replace(" ", ",") for row in rows)])


def alleles(table: pl.DataFrame) -> list[tuple[object, ...]]:
    return table.select("contig", "pos", "ref", "alt").rows()


def reasons(table: pl.DataFrame) -> list[str | None]:
    return table["reason"].to_list()


FINDLAY_ROWS = [
    "BRCA1,17,1,G,A,Missense,-2.5,LOF",
    "BRCA1,17,2,A,C,Synonymous,0.25,FUNC",
    "BRCA1,17,3,T,G,Intronic,-1,INT",
    "BRCA1,17,4,T,A,Intronic,NA,FUNC",
]
FINDLAY_ALLELES = [("chr17", 1, "G", "A"), ("chr17", 2, "A", "C"), ("chr17", 3, "T", "G"), ("chr17", 4, "T", "A")]


def check_findlay(table: pl.DataFrame) -> None:
    assert table.schema == SCHEMA
    assert alleles(table) == FINDLAY_ALLELES
    assert table["edit_type"].to_list() == [int(EditType.SNV)] * 4
    assert table["label"].to_list() == [1, 0, 0, 0]
    assert table["value"].to_list() == [-2.5, 0.25, -1.0, None]
    assert table["match_group"].to_list() == [None] * 4
    assert reasons(table) == [None] * 4


@pytest.mark.parametrize("preamble", [[], PREAMBLE, ["one", "two", "", "a,b", "", "", "", "", "nine"]])
@pytest.mark.parametrize("separator", [",", "\t"])
@pytest.mark.parametrize("packed", [False, True])
def test_findlay_as_text(tmp_path: Path, genome: Genome, preamble: list[str], separator: str, packed: bool) -> None:
    table = [line.replace(",", separator) for line in [FINDLAY, *FINDLAY_ROWS]]
    path = write(tmp_path, [*preamble, *table], "table.csv" if separator == "," else "table.txt")
    if packed:
        path = path.with_name(path.name + ".gz")
        path.write_bytes(gzip.compress((tmp_path / path.stem).read_bytes()))
    check_findlay(read_benchmark(path, genome))


def test_text_of_windows_with_a_byte_order_mark_quotes_and_capitals(tmp_path: Path, genome: Genome) -> None:
    lines = [f'"{FINDLAY.upper()}"'.replace(",", '","'), *FINDLAY_ROWS, "", ",,,,,,,"]
    (tmp_path / "t.csv").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    check_findlay(read_benchmark(tmp_path / "t.csv", genome))


def test_findlay_as_xlsx_with_preamble_among_other_sheets(tmp_path: Path, genome: Genome) -> None:
    def cell(text: str) -> object:
        return None if text == "NA" else float(text) if text.lstrip("-").replace(".", "").isdigit() else text

    rows: list[list[object]] = [["Supplementary Table 1"], [], [*FINDLAY.split(",")]]
    rows += [[cell(text) for text in row.split(",")] for row in FINDLAY_ROWS]
    rows += [[], ["* a footnote"]]
    path = write_xlsx(tmp_path, {"Read me": [["Contents"]], "Table S1": rows, "Empty": []})
    check_findlay(read_benchmark(path, genome))


@pytest.mark.parametrize("name", ["position", "Position (hg38)"])
def test_findlay_with_another_name_of_the_position(tmp_path: Path, genome: Genome, name: str) -> None:
    header = FINDLAY.replace("position (hg19)", name)
    check_findlay(read_benchmark(write(tmp_path, [header, *FINDLAY_ROWS]), genome))


def huang_row(pos_hg19: object, pos_hg38: object, ref: str, alt: str, scores: list[object], grade: object) -> list:
    """22 cells; those that are not read hold words that are no bases and no numbers."""
    before = ["E15", 17, pos_hg19, "id19", pos_hg38, "id38", "exonic", ref, alt, "c.1A>G"]
    return [*before, *(f"x{i}" for i in range(10, 16)), *scores, "y", "z", grade]


HUANG_ROWS = [  # hg38 is the place in BASES, hg19 lies 3 bp further right
    huang_row(4, 1, "G", "A", [-1.0, -2.0, -3.0], "P strong"),
    huang_row(5, 2, "A", "C", [0.5, None, 1.5], "B supporting"),
    huang_row(6, 3, "T", "G", [None, None, 0.25], "VUS"),
    huang_row(7, 4, "T", "A", [None, None, None], None),
    huang_row(9, 6, "C", "G", [None, None, None], "P  Moderate"),
    huang_row(11, 8, "G", "C", [None, "inf", "NaN"], "B moderate"),
]
HUANG_HEADER = [f"Column\n{i}" for i in range(22)]
HUANG_OWN = [
    *("exon chrom pos_hg19 id_hg19 pos_hg38 id_hg38 region ref alt hgvs ca cb cc cd ce cf".split()),
    *("func_score_a func_score_b func_score_c cg ch class".split()),
]


def check_huang(table: pl.DataFrame) -> None:
    assert table.schema == SCHEMA
    assert alleles(table) == [
        ("chr17", 1, "G", "A"), ("chr17", 2, "A", "C"), ("chr17", 3, "T", "G"),
        ("chr17", 4, "T", "A"), ("chr17", 6, "C", "G"), ("chr17", 8, "G", "C"),
    ]  # fmt: skip
    assert table["label"].to_list() == [1, 0, None, None, 1, 0]
    assert table["value"].to_list() == [-2.0, 1.0, 0.25, None, None, None]
    assert reasons(table) == [None, None, None, "no_label", None, None]


def as_csv(rows: list[list]) -> list[str]:
    return [",".join("" if cell is None else str(cell).replace("\n", " ") for cell in row) for row in rows]


@pytest.mark.parametrize("header", [HUANG_HEADER, HUANG_OWN])
def test_huang_picks_the_positions_that_agree_with_the_fasta(tmp_path: Path, genome: Genome, header: list[str]) -> None:
    rows = [["Table S3. Functional scores"], [None], header, *HUANG_ROWS]
    check_huang(read_benchmark(write_xlsx(tmp_path, {"S1": [["x", "y"]], "Table S3": rows}), genome))
    check_huang(read_benchmark(write(tmp_path, as_csv(rows)), genome))
    swapped = [[*row[:2], row[4], row[3], row[2], *row[5:]] for row in HUANG_ROWS]  # now the first column is right
    check_huang(read_benchmark(write(tmp_path, as_csv([header, *swapped])), genome))


def test_huang_of_another_build_in_both_columns_is_refused(tmp_path: Path, genome: Genome) -> None:
    rows = [[*row[:4], row[2], *row[5:]] for row in HUANG_ROWS]
    with pytest.raises(InputError, match="another genome build.*GRCh37 or GRCh38"):
        read_benchmark(write(tmp_path, as_csv([HUANG_HEADER, *rows])), genome)


def test_22_columns_without_grades_are_no_huang(tmp_path: Path, genome: Genome) -> None:
    rows = [[*row[:21], "high"] for row in HUANG_ROWS]
    with pytest.raises(InputError, match=r"has the columns Column 0, .*, Column 11, \.\.\.; expected one of"):
        read_benchmark(write(tmp_path, as_csv([HUANG_HEADER, *rows])), genome)


@pytest.mark.parametrize("label", [pl.Boolean, pl.Int64, pl.Float64])
def test_traitgym(tmp_path: Path, genome: Genome, label: type[pl.DataType]) -> None:
    frame = pl.DataFrame(
        {
            "chrom": ["17", "17", "X"],
            "pos": [1, 2, 3],
            "ref": ["G", "A", "G"],
            "alt": ["T", "G", "C"],
            "label": pl.Series([1, 0, None]).cast(label),
            "match_group": ["a_1", "a_1", None],
            "consequence": ["x", "y", "z"],
        }
    )
    frame.write_parquet(tmp_path / "test.parquet")
    table = read_benchmark(tmp_path / "test.parquet", genome)
    assert table.schema == SCHEMA
    assert alleles(table) == [("chr17", 1, "G", "T"), ("chr17", 2, "A", "G"), ("chrX", 3, "G", "C")]
    assert table["label"].to_list() == [1, 0, None]
    assert table["value"].to_list() == [None] * 3
    assert table["match_group"].to_list() == ["a_1", "a_1", None]
    assert reasons(table) == [None, None, "no_label"]
    (tmp_path / "t.parquet.gz").write_bytes(gzip.compress((tmp_path / "test.parquet").read_bytes()))
    assert read_benchmark(tmp_path / "t.parquet.gz", genome).equals(table)


def hugging_face(scores: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "chrom": ["chr17"] * 4,
            "pos": [1, 2, 3, 4],
            "ref": list("GATT"),
            "alt": list("ACGA"),
            "score": scores,
            "class": ["LOF", "FUNC/INT", "FUNC", "INT"],
            "ref_seq": ["A" * 40] * 4,
            "var_seq": ["C" * 40] * 4,
        }
    )


@pytest.mark.parametrize("suffix", ["parquet", "csv", "tsv"])
@pytest.mark.parametrize("scores", [[-0.5, 1e-7, float("nan"), float("-inf")], [None] * 4])
def test_hugging_face(tmp_path: Path, genome: Genome, suffix: str, scores: list[float | None]) -> None:
    path = tmp_path / f"table.{suffix}"
    if suffix == "parquet":
        hugging_face(scores).write_parquet(path)
    else:
        hugging_face(scores).write_csv(path, separator="," if suffix == "csv" else "\t")
    table = read_benchmark(path, genome)
    assert alleles(table) == FINDLAY_ALLELES
    assert table["label"].to_list() == [1, 0, 0, 0]
    assert table["value"].to_list() == ([None] * 4 if scores[0] is None else [-0.5, 1e-7, None, None])
    assert reasons(table) == [None] * 4


def test_the_label_wins_over_the_class(tmp_path: Path, genome: Genome) -> None:
    frame = hugging_face([None] * 4).with_columns(label=pl.Series([False, True, True, None]), match_group=pl.lit(7))
    frame.write_parquet(tmp_path / "t.parquet")
    table = read_benchmark(tmp_path / "t.parquet", genome)
    assert table["label"].to_list() == [0, 1, 1, None]
    assert table["match_group"].to_list() == ["7"] * 4
    assert reasons(table) == [None, None, None, "no_label"]


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String])
def test_chromosomes_as_numbers(tmp_path: Path, genome: Genome, kind: type[pl.DataType]) -> None:
    chrom = pl.Series([17, 99]).cast(kind)
    pl.DataFrame(
        {"chrom": chrom, "pos": [1.0, 2.0], "ref": ["G", "A"], "alt": ["T", "T"], "label": [1, 0]}
    ).write_parquet(tmp_path / "t.parquet")
    table = read_benchmark(tmp_path / "t.parquet", genome)
    assert alleles(table) == [("chr17", 1, "G", "T"), ("99", 2, "A", "T")]
    assert reasons(table) == [None, "contig_unknown"]


def test_indels_are_trimmed_and_left_aligned(tmp_path: Path, genome: Genome) -> None:
    # CCCC is 11 to 14, after the T at 10: a C less is TC>T there, wherever it was cut, and a C more is T>TC.
    rows = ["17 13 CC C 1", "chr17 9 ATCCCC ATCCCCC 0", "17 1 GATT GACT 1", "17 1 ga gt 0"]
    table = read_benchmark(traitgym(tmp_path, rows), genome)
    assert alleles(table) == [
        ("chr17", 10, "TC", "T"), ("chr17", 10, "T", "TC"), ("chr17", 3, "T", "C"), ("chr17", 2, "A", "T"),
    ]  # fmt: skip
    types = [EditType.DEL, EditType.INS, EditType.SNV, EditType.SNV]
    assert table["edit_type"].to_list() == [int(kind) for kind in types]
    assert reasons(table) == [None] * 4


def test_every_reason_keeps_its_row_as_the_file_has_it(tmp_path: Path, genome: Genome) -> None:
    rows = [
        ("17 1 G A 1", None, ("chr17", 1, "G", "A")),
        ("17 2 C A 1", "ref_mismatch", ("chr17", 2, "C", "A")),
        ("chr5 2 A C 1", "contig_unknown", ("chr5", 2, "A", "C")),
        (" 2 A C 1", "contig_unknown", (None, 2, "A", "C")),
        ("17 3 T R 0", "ambiguous_base", ("chr17", 3, "T", "R")),
        ("17 45 N A 0", "ambiguous_base", ("chr17", 45, "N", "A")),
        ('17 3 T "G,C" 0', "ambiguous_base", ("chr17", 3, "T", "G,C")),
        ("17 3  C 0", "ambiguous_base", ("chr17", 3, None, "C")),
        ("17 61 G C 0", "out_of_range", ("chr17", 61, "G", "C")),
        ("17 5 A  1", "no_alt", ("chr17", 5, "A", None)),
        ("17 5 A A 1", "no_alt", ("chr17", 5, "A", "A")),
        ("17 5 A * 1", "spanning_deletion", ("chr17", 5, "A", "*")),
        ("17 5 A <DEL> 1", "symbolic", ("chr17", 5, "A", "<DEL>")),
        (f"17 5 A A{'C' * 60} 1", "too_long", ("chr17", 5, "A", "A" + "C" * 60)),
        ("17  A C 1", "no_position", ("chr17", None, "A", "C")),
        ("17 0 A C 1", "no_position", ("chr17", 0, "A", "C")),
        ("17 -4 A C 1", "no_position", ("chr17", -4, "A", "C")),
        ("17 2.5 A C 1", "no_position", ("chr17", None, "A", "C")),
        ("17 two A C 1", "no_position", ("chr17", None, "A", "C")),
        ("17 6 C T ", "no_label", ("chr17", 6, "C", "T")),
        ("17 6 C T maybe", "no_label", ("chr17", 6, "C", "T")),
        ("17 7 A T 0", None, ("chr17", 7, "A", "T")),
    ]
    table = read_benchmark(traitgym(tmp_path, [text for text, _, _ in rows]), genome)
    assert reasons(table) == [reason for _, reason, _ in rows]
    assert alleles(table) == [allele for _, _, allele in rows]


def test_the_first_of_duplicates_stays_and_no_row_of_a_contradiction(tmp_path: Path, genome: Genome) -> None:
    rows = [
        ("17 1 G A 1", None),
        ("17 13 CC C 0", None),
        ("17 2 A C 1", "contradiction"),
        ("chr17 1 G A 1", "duplicate"),
        ("17 11 CC C 0", "duplicate"),  # the same deletion, written otherwise
        ("17 2 A C 0", "contradiction"),
        ("17 2 A C 1", "contradiction"),
        ("17 1 G T 0", None),
        ("17 5 G A 1", "ref_mismatch"),
        ("17 5 G A 0", "ref_mismatch"),
    ]
    assert reasons(read_benchmark(traitgym(tmp_path, [text for text, _ in rows]), genome)) == [why for _, why in rows]


def test_a_row_without_a_label_counts_by_its_value_and_yields_to_one_with_a_label(
    tmp_path: Path, genome: Genome
) -> None:
    rows = ["1,G,A,0.5,", "2,A,C,0.5,", "2,A,C,0.25,LOF", "3,T,G,1.5,x", "3,T,G,2.5,", "4,T,A,,LOF", "4,T,A,,"]
    path = write(tmp_path, ["chrom,pos,ref,alt,score,class", *(f"17,{row}" for row in rows)])
    table = read_benchmark(path, genome)
    assert table["label"].to_list() == [None, None, 1, None, None, 1, None]
    assert reasons(table) == [None, "duplicate", None, None, "duplicate", None, "no_label"]


def test_a_missing_file(tmp_path: Path, genome: Genome) -> None:
    with pytest.raises(InputError, match="benchmark table not found: .*none.csv; check the path"):
        read_benchmark(tmp_path / "none.csv", genome)
    with pytest.raises(InputError, match="is a folder"):
        read_benchmark(tmp_path, genome)


def test_unknown_columns_are_named_with_the_known_layouts(tmp_path: Path, genome: Genome) -> None:
    path = write(tmp_path, ["# a comment", "a,b,c,d,e,f,g,h,i,j,k,l,m,n", "1,2,3,4,5,6,7,8,9,10,11,12,13,14"])
    with pytest.raises(InputError, match=r"columns a, b, c, d, e, f, g, h, i, j, k, l, \.\.\.; expected") as caught:
        read_benchmark(path, genome)
    assert all(name in str(caught.value) for name in ("Findlay 2018", "Huang 2025", "TraitGym", "HuggingFaceBio"))
    pl.DataFrame({"chrom": ["1"], "pos": [1]}).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has the columns chrom, pos; expected one of"):
        read_benchmark(tmp_path / "t.parquet", genome)
    with pytest.raises(InputError, match="has the columns x, y; expected one of"):
        read_benchmark(write_xlsx(tmp_path, {"A": [["x", "y"]]}), genome)


def test_tables_without_rows(tmp_path: Path, genome: Genome) -> None:
    for lines in ([FINDLAY], [*PREAMBLE, FINDLAY, "", ",,,,,,,"], [",".join(HUANG_OWN)]):
        with pytest.raises(InputError, match="has no rows below its header"):
            read_benchmark(write(tmp_path, lines), genome)
    with pytest.raises(InputError, match="has no rows"):
        read_benchmark(write_xlsx(tmp_path, {"A": [[*FINDLAY.split(",")]]}), genome)
    hugging_face([None] * 4).clear().write_parquet(tmp_path / "t.parquet")
    with pytest.raises(InputError, match="has no rows"):
        read_benchmark(tmp_path / "t.parquet", genome)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match=r"has the columns \(none\); expected one of"):
        read_benchmark(tmp_path / "empty.csv", genome)


def test_damaged_files(tmp_path: Path, genome: Genome) -> None:
    hugging_face([None] * 4).write_parquet(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    workbook = write_xlsx(tmp_path, {"A": [["x"]]}).read_bytes()
    text = f"{FINDLAY}\n{FINDLAY_ROWS[0]}\n{FINDLAY_ROWS[1]},one,more\n".encode()
    old_excel = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\x00\x00"
    for name, content in {
        "cut.parquet": whole[: len(whole) // 2],
        "cut.xlsx": workbook[: len(workbook) // 2],
        "old.xls": old_excel,
        "other.zip": b"PK\x03\x04" + bytes(100),
        "fields.csv": text,
        "first.csv": f"{FINDLAY}\n{FINDLAY_ROWS[0]},one,more,and,more\n".encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=f"{name} cannot be read as Parquet, CSV, TSV or xlsx"):
            read_benchmark(tmp_path / name, genome)
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(text)[:-9])
    with pytest.raises(InputError, match="truncated or damaged"):
        read_benchmark(tmp_path / "cut.csv.gz", genome)


def build_rows(n_right: int, n_wrong: int) -> list[str]:
    places = range(1, n_right + n_wrong + 1)
    refs = [BASES[pos - 1] if pos <= n_right else {"G": "A"}.get(BASES[pos - 1], "G") for pos in places]
    alts = [("T" if ref == "C" else "C") for ref in refs]
    return [f"17 {pos} {ref} {alt} 1" for pos, ref, alt in zip(places, refs, alts, strict=True)]


def test_a_table_of_another_build_is_refused(tmp_path: Path, genome: Genome) -> None:
    with pytest.raises(InputError, match=r"table.csv does not fit .*ref.fa: 3 of 5 sites .* FASTA of GRCh38"):
        read_benchmark(traitgym(tmp_path, [*build_rows(2, 3), "99 1 A C 1"]), genome)
    for n_right, n_wrong in ((3, 3), (1, 3), (0, 4)):  # no more than half, or too few to tell
        table = read_benchmark(traitgym(tmp_path, build_rows(n_right, n_wrong)), genome)
        assert reasons(table) == [None] * n_right + ["ref_mismatch"] * n_wrong


POOL = [f"17 {pos} {BASES[pos - 1]} {alt} {label}" for pos in range(1, 21) for alt in "ACGT" for label in (0, 1)]
POOL += [
    "chr17 13 CC C 1",
    "17 11 CC C 1",
    "9 1 A C 1",
    "17 0 A C 0",
    '17 3 T "A,C" 1',
    "17 3   1",
    "17 8 G T x",
    "   z 5",
]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.lists(st.sampled_from(POOL), min_size=1, max_size=60), random=st.randoms(use_true_random=False))
def test_rows_out_are_rows_in_and_the_order_only_says_which_duplicate_stays(
    tmp_path: Path, genome: Genome, order: list[str], random: object
) -> None:
    shuffled = list(order)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    counts = []
    for rows in (order, shuffled):
        table = read_benchmark(traitgym(tmp_path, rows), genome)
        assert table.height == len(rows)
        said = [row.split(" ")[-1] for row in rows]
        assert table["label"].to_list() == [int(word) if word in ("0", "1") else None for word in said]
        kept = table.filter(pl.col("reason").is_null())
        assert kept.select("contig", "pos", "ref", "alt").is_unique().all()
        counts.append(
            sorted(table.with_columns(pl.col("reason").fill_null("")).select("pos", "alt", "reason").rows(), key=str)
        )
    assert counts[0] == counts[1]
