"""The report of a run: counts worked out by hand, the order of the table, and a page that is safe to open."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from geno_model.genomics import alleles
from geno_model.scoring.errors import OutputError
from geno_model.scoring.report import ReportData, report_page, write_report
from geno_model.scoring.report_data import natural_key
from geno_model.scoring.report_pictures import length, number, percent, wilson
from geno_model.scoring.report_words import COUNSELLOR, NOTICE, REASONS, SYNTHETIC

SCHEMA = pl.Schema(
    {
        "record": pl.Int64, "alt_index": pl.Int64, "contig": pl.String, "pos": pl.Int64, "ref": pl.String,
        "alt": pl.String, "edit_type": pl.UInt8, "reason": pl.String, "vcf_chrom": pl.String, "vcf_pos": pl.Int64,
        "vcf_ref": pl.String, "vcf_alt": pl.String, "region_class": pl.String, "gc_bin": pl.Int8,
        "repeat_class": pl.String, "bucket_id": pl.String, "surprise_raw": pl.Float32, "displacement": pl.Float32,
        "surprise": pl.Float64, "n_calibration": pl.Int64, "confidence": pl.Float64, "low_confidence": pl.Boolean,
    }
)  # fmt: skip
CONTIGS = {"chr10": 1_000, "chr2": 1_000}
FACTS = {"model": "ab" * 32, "input": "a.vcf", "made": "1 May 2026"}


def allele(record: int, **values: Any) -> dict[str, Any]:
    """A scored A>C on chr2 with a full bucket, but for what is given."""
    row: dict[str, Any] = {
        "record": record, "alt_index": 0, "contig": "chr2", "pos": 100 + record, "ref": "A", "alt": "C", "edit_type": 0,
        "reason": None, "region_class": "intron", "gc_bin": 1, "repeat_class": "none", "bucket_id": "intron|1|none",
        "surprise_raw": 0.25, "displacement": 0.125, "surprise": 0.5, "n_calibration": 5_000, "confidence": 1.0,
        "low_confidence": False,
    }  # fmt: skip
    row |= values
    return {"vcf_chrom": row["contig"], **{f"vcf_{name}": row[name] for name in ("pos", "ref", "alt")}} | row


def excluded(record: int, reason: str) -> dict[str, Any]:
    scores = list(SCHEMA)[12:]
    return allele(record, reason=reason) | dict.fromkeys(scores)


def gathered(
    *rows: dict[str, Any],
    contigs: dict[str, int] | None = None,
    top_n: int = 100,
    listed: dict[int, bool | None] | None = None,
) -> ReportData:
    """listed: records that ClinVar lists as pathogenic, and whether a genotype carries them."""
    data = ReportData(contigs or CONTIGS, top_n)
    scores, carried = pl.DataFrame(rows, schema=SCHEMA), listed or {}
    known = scores.filter(pl.col("record").is_in(list(carried)))
    mark = [carried[record] for record in known["record"]]
    data.add(scores, known.with_columns(pl.Series("is_carried", mark, pl.Boolean)))
    return data


def some_rows(n: int) -> list[dict[str, Any]]:
    """Alleles of both contigs, several regions, every seventh excluded, every fifth record with two alleles."""
    rows = []
    for index in range(n):
        place = {"contig": ("chr2", "chr10")[index % 2], "pos": 1 + 37 * index % 1_000}
        score = {"surprise": (index * 29 % 101) / 100, "surprise_raw": (index % 4) / 8}
        kind = {"region_class": ("intron", "utr5", "splice")[index % 3], "low_confidence": index % 11 == 0}
        record = index - (index % 5 == 4)
        rows.append(excluded(record, "too_long") if index % 7 == 6 else allele(record, **place, **score, **kind))
    return rows


class _Text(HTMLParser):
    """The words of a page, its tags, and whether every tag was closed in its turn."""

    VOID = ("meta", "wbr", "rect", "line", "path")

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words, self.tags, self._open = "", [], []
        self.feed(page)
        assert not self._open

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data.replace("\N{NO-BREAK SPACE}", " ")


def text_of(data: ReportData, *, is_synthetic: bool = False) -> str:
    return _Text(report_page(data, FACTS, is_synthetic=is_synthetic)).words


def test_counts() -> None:
    two_alleles = [allele(0), allele(0, alt_index=1, alt="G", low_confidence=True)]
    data = gathered(*two_alleles, excluded(1, "symbolic"), excluded(2, "symbolic"), excluded(3, "breakend"))
    assert (data.n_records, data.n_alleles, data.n_scored, data.n_excluded, data.n_low_confidence) == (4, 5, 2, 3, 1)
    assert data.reasons() == {"symbolic": 2, "breakend": 1}
    assert "3 of 5 alleles (60.0 %) have no score" in text_of(data)


def test_histogram_has_fiftieths_whose_lower_edge_belongs_to_them() -> None:
    values = (0.0, 0.0199, 0.02, 0.58, 0.9999, 1.0)  # 0.58 * 50 is 28.999999999999996
    counts = gathered(*(allele(index, surprise=value) for index, value in enumerate(values))).histogram()
    assert {index: n for index, n in enumerate(counts) if n} == {0: 2, 1: 1, 29: 1, 49: 2} and len(counts) == 50


def test_high_is_above_099_and_the_words_say_what_chance_gives() -> None:
    data = gathered(*(allele(index, surprise=0.99 if index < 98 else 0.991) for index in range(100)))
    assert data.n_high == 2
    sentence = "2 of 100 variants (2.00 %; 95 % interval 0.550 % to 7.00 %) lie above 0.99. Chance would give 1 %, "
    assert sentence + "which is 1 of 100: this is about what chance gives." in text_of(data)


def test_regions_with_lower_median() -> None:
    values = [("intron", 0.2), ("splice", 1.0), ("intron", 0.4), ("intron", 0.995), ("intron", 0.9)]
    data = gathered(*(allele(i, region_class=name, surprise=value) for i, (name, value) in enumerate(values)))
    assert data.regions().rows() == [("intron", 4, 0.4, 1, 4), ("splice", 1, 1.0, 1, 1)]


def test_the_page_says_what_percentiles_are_among() -> None:
    """Two SNVs in buckets of their own region (one finer), one SNV and one insertion among all of their kind."""
    of_all = {"bucket_id": "*", "n_calibration": 869}
    own = {"bucket_id": "intron", "n_calibration": 1_024}
    rows = [
        allele(0, **own),
        allele(1),
        allele(2, region_class="splice", **of_all),
        allele(3, alt="AC", edit_type=1, bucket_id="*", n_calibration=131, confidence=0.131),
    ]
    data = gathered(*rows)
    assert data.comparisons().rows() == [
        ("substitution", 3, 1, 5_000, 5_000),
        ("substitution", 1, 1, 1_024, 1_024),
        ("substitution", 0, 1, 869, 869),
        ("indel", 0, 1, 131, 131),
    ]
    assert data.regions().select("region_class", "n", "n_own").rows() == [("intron", 3, 2), ("splice", 1, 0)]
    text = text_of(data)
    assert text.count("50.0 % of the variants were compared with common variants of their own kind of region") == 2
    assert (
        "50.0 % with common variants of all regions, because the calibration has fewer than 1,000 of their own" in text
    )
    assert "Insertions and deletionsall regions125.0 %131" in text and "in every row" not in text
    all_own = text_of(gathered(*rows[:2]))
    assert "Each variant was compared with common variants of its own kind of region. So chance would" in all_own
    none = text_of(gathered(*rows[2:]))
    assert "Each variant was compared with common variants of all regions, because the calibration has fewer" in none
    assert "of its own kind of region. So" not in none
    no_indels = text_of(gathered(allele(0, bucket_id="*", n_calibration=0, confidence=0.0, low_confidence=True)))
    assert "all types of edit, as there were none of its own: confidence 01100 %unknown" in no_indels


def test_a_percentile_says_no_more_than_its_bucket_can() -> None:
    data = gathered(*(allele(i, surprise=value, n_calibration=131) for i, value in enumerate((1.0, 0.5, 0.0))))
    page = report_page(data, FACTS)
    for shown in ("&gt; 0.992", "0.500", "&lt; 0.008"):
        assert f'<td class="number">{shown}</td>' in page
    assert ">1.000<" not in report_page(gathered(allele(0, surprise=1.0)), FACTS)  # nor as a median


def test_places_are_two_hundredths_of_a_contig_in_natural_order() -> None:
    rows = [allele(index, contig="chr10", pos=pos) for index, pos in enumerate((1, 5, 6, 1_000))] + [allele(4, pos=500)]
    places = gathered(*rows).places()
    assert list(places) == ["chr2", "chr10"]
    assert {index: n for index, n in enumerate(places["chr10"]) if n} == {0: 2, 1: 1, 199: 1}
    assert {index: n for index, n in enumerate(places["chr2"]) if n} == {99: 1}


def test_natural_order() -> None:
    names = ["chrM", "chrY", "chrX", "chr10", "chrUn_2", "chr2", "chrUn_10", "1"]
    ordered = ["1", "chr2", "chr10", "chrX", "chrY", "chrM", "chrUn_2", "chrUn_10"]
    assert sorted(names, key=natural_key) == ordered


def test_top_is_by_percentile_then_raw_then_position() -> None:
    rows = [
        allele(0, surprise=0.9, surprise_raw=0.5, contig="chr10", pos=1),
        allele(1, surprise=0.9, surprise_raw=0.5, pos=20),
        allele(2, surprise=0.9, surprise_raw=0.5, pos=3, alt="G"),
        allele(3, surprise=0.9, surprise_raw=0.5, pos=3, alt="C"),
        allele(4, surprise=0.9, surprise_raw=0.75),
        allele(5, surprise=0.95, surprise_raw=0.125, low_confidence=True),
        excluded(6, "too_long"),
        allele(7, surprise=0.1),
    ]
    assert gathered(*rows, top_n=6).top()["record"].to_list() == [5, 4, 3, 2, 1, 0]
    page = report_page(gathered(*rows, top_n=6), FACTS)
    marked = re.findall(r'<tr class="low">.*?</tr>', page)
    assert len(marked) == 1 and "LOW" in marked[0] and "chr2:105" in marked[0]
    assert "1 of them is marked LOW" in page


@pytest.mark.parametrize("size", [1, 3, 64])
def test_chunks_leave_no_trace(size: int) -> None:
    rows = pl.DataFrame(some_rows(150), schema=SCHEMA)
    at_once, in_chunks = ReportData(CONTIGS, 20), ReportData(CONTIGS, 20)
    at_once.add(rows)
    for chunk in rows.iter_slices(size):
        in_chunks.add(chunk)
    assert at_once.n_records == 120
    assert report_page(in_chunks, FACTS) == report_page(at_once, FACTS)


def test_contigs_and_facts_are_escaped() -> None:
    data = gathered(allele(0, contig="<b>", vcf_pos=7, bucket_id="<i>"), contigs={"<b>": 1_000})
    page = report_page(data, {"input": "<script>", "<u>": "&"})
    names = {tag for tag, _ in _Text(page).tags}
    assert not names & {"b", "i", "u", "script"}
    assert "&lt;b&gt;:100" in page and "&lt;script&gt;" in page and "in the file &lt;b&gt;:7 A&gt;C" in page


def test_page_asks_for_nothing_and_can_be_read_aloud() -> None:
    page = report_page(gathered(*some_rows(150), listed={0: True, 1: None}), FACTS, is_synthetic=True)
    for remote in ("http://", "https://", "src=", "url(", "@import", "<script", "<link"):
        assert remote not in page
    tags = _Text(page).tags
    assert all(re.fullmatch("#[a-z-]+", attributes["href"]) for tag, attributes in tags if tag == "a")
    assert [tag for tag, _ in tags if re.fullmatch("h[1-6]", tag)] == ["h1"] + ["h2"] * 9
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in tags if tag == "th")
    pictures = [attributes for tag, attributes in tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(pictures) == 3 and all(p["role"] == "img" and p["aria-label"] for p in pictures)  # two contigs, bars
    assert ("html", {"lang": "en"}) in tags


def test_every_reason_has_a_sentence() -> None:
    assert set(REASONS) == set(alleles.REASONS)
    text = text_of(gathered(allele(0), *(excluded(1 + index, name) for index, name in enumerate(alleles.REASONS))))
    assert all(name in text and sentence in text for name, sentence in REASONS.items())


def test_displacement_alone_ranks_by_it_and_has_no_percentiles() -> None:
    values = (0.125, 0.5, 0.25)
    nothing = {"surprise": None, "surprise_raw": None, "low_confidence": True}
    data = gathered(*(allele(index, displacement=value, **nothing) for index, value in enumerate(values)))
    assert not data.has_percentiles and data.top()["record"].to_list() == [1, 2, 0]
    page = report_page(data, FACTS)
    text = _Text(page).words
    assert "this page has no percentiles" in text and "The largest displacements" in text
    assert 'id="percentiles"' not in page and ">Raw<" not in page and ">LOW<" not in page
    assert "intron3100 %" in text  # three variants of introns, all that there are


def test_columns_of_nothing_but_null_need_no_type() -> None:
    absent = ("surprise", "surprise_raw", "bucket_id", "n_calibration", "confidence", "low_confidence")
    typed, untyped = ReportData(CONTIGS), ReportData(CONTIGS)
    rows = pl.DataFrame([allele(0, **dict.fromkeys(absent))], schema=SCHEMA)
    typed.add(rows)
    untyped.add(rows.with_columns(pl.lit(None).alias(name) for name in absent))
    assert report_page(untyped, FACTS) == report_page(typed, FACTS)


def test_surprise_alone_has_no_displacement() -> None:
    page = report_page(gathered(allele(0, displacement=None)), FACTS)
    assert ">Displacement<" not in page and ">Raw<" in page and ">ΔlogLik<" not in page


def test_likelihood_is_shown_where_there_is_one() -> None:
    data = ReportData(CONTIGS)
    rows = pl.DataFrame([allele(0), allele(1)], schema=SCHEMA)
    data.add(rows.with_columns(pl.Series("delta_loglik", [-1.25, None], pl.Float32)))
    page = report_page(data, FACTS)
    assert ">ΔlogLik<" in page and ">−1.250<" in page and ">–<" in page


def test_empty_sections_say_so() -> None:
    assert "Nothing: all 1 alleles were scored." in text_of(gathered(allele(0)))
    assert "LOW:" not in text_of(gathered(allele(0))).split("What the columns mean")[0]
    nothing = text_of(gathered(excluded(0, "no_alt")))
    assert nothing.count("No allele was scored.") == 3 and "1 of 1 alleles (100 %) has no score" in nothing
    assert "Nothing is known" in report_page(ReportData(CONTIGS), {})


def test_notice_and_pathogenic_alleles() -> None:
    nothing = text_of(gathered(allele(0)))
    assert f"{NOTICE} {COUNSELLOR}" in nothing and "listed as pathogenic" not in nothing
    carried = text_of(gathered(allele(0), listed={0: True}))
    assert "1 allele that a genotype carries is listed as pathogenic or likely pathogenic" in carried
    assert "Please talk to a genetic counsellor." in carried and "unknown whether" not in carried
    rows = [allele(number) for number in range(1_234)]
    unknown = text_of(gathered(*rows, listed=dict.fromkeys(range(1_234))))
    assert "1,234 alleles of this input are listed" in unknown and "unknown whether anybody carries" in unknown
    assert "Please talk" not in unknown and "These are the first 100 of 1,234." in unknown


def test_listed_alleles_are_named_and_flagged() -> None:
    """By position, with a reason where there is no score; in the long table a flag."""
    rows = [allele(0, pos=500, surprise=0.25), excluded(1, "filtered"), allele(2, pos=7), allele(3, surprise=0.9)]
    data = gathered(*rows, listed={0: True, 1: True, 2: None})
    assert data.listed().select("pos", "reason", "is_carried").rows() == [
        (7, None, None),
        (101, "filtered", True),
        (500, None, True),
    ]
    page = report_page(data, FACTS)
    section = page.split('id="listed"')[1].split("</section>")[0]
    assert re.findall(r'<th scope="row">(chr2:\d+)', section) == ["chr2:7", "chr2:101", "chr2:500"]
    assert "<code>filtered</code>" in section and "unknown: no genotypes" in section and ">0.2500<" in section
    long = page.split('id="top"')[1].split("</section>")[0]
    assert [("ClinVar</span>" in row) for row in re.findall("<tr>.*?</tr>", long)[1:]] == [False, True, True]


def test_a_synthetic_release_is_called_so_and_sends_nobody_to_a_counsellor() -> None:
    data = gathered(allele(0), allele(1), listed={0: True, 1: None})
    real, synthetic = text_of(data), text_of(data, is_synthetic=True)
    assert SYNTHETIC in synthetic and synthetic.count("That ClinVar is made up") == 2
    assert "counsellor" not in synthetic
    assert "ynthetic data" not in real and real.count("genetic counsellor") == 3


def test_contigs_beyond_thirty_are_a_sentence() -> None:
    contigs = {f"s{index}": 100 for index in range(1, 33)}
    rows = [allele(index, contig=f"s{1 + index % 32}", pos=50) for index in range(35)]
    page = report_page(gathered(*rows, contigs=contigs), FACTS)
    assert page.count('<span class="name"') == 30 and ">s30</span>" in page and ">s31</span>" not in page
    assert "2 more contigs, not drawn, have 2 scored variants." in page


def test_numbers() -> None:
    assert [number(value) for value in (1_234_567, 0.5, 0.99996, 12_345.6, -0.25, 0.00003957, 2e-12, 0.0, None)] == [
        "1,234,567", "0.5000", "1.000", "12,350", "−0.2500", "0.00003957", "2.000e−12", "0", "–",
    ]  # fmt: skip
    assert [percent(share).replace("\N{NO-BREAK SPACE}", " ") for share in (0, 0.01234, 0.5, 1)] == [
        "0 %",
        "1.23 %",
        "50.0 %",
        "100 %",
    ]
    assert [length(bp) for bp in (200, 40_000, 248_956_422)] == ["200 bp", "40 kb", "249 Mb"]


def test_wilson() -> None:
    # (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n) with p = 0.1, n = 100, z = 1.96
    assert wilson(10, 100) == pytest.approx((0.05523, 0.17437), abs=1e-5)
    assert wilson(0, 10) == pytest.approx((0.0, 0.27753), abs=1e-5) and wilson(0, 0) == (0.0, 1.0)


def test_written_whole_or_not_at_all(tmp_path: Path) -> None:
    data = gathered(allele(0))
    write_report(tmp_path / "r.html", data, FACTS)
    assert (tmp_path / "r.html").read_text(encoding="utf-8") == report_page(data, FACTS)
    (tmp_path / "folder").mkdir()
    for bad in (tmp_path / "folder", tmp_path / "r.html" / "below.html"):
        with pytest.raises(OutputError, match="cannot be written"):
            write_report(bad, data, FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "r.html"]
