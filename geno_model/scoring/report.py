"""The report of a run: one HTML file that a person can read and keep (spec 5, `--report`).

Belongs here: the order of the page, the sentences that depend on the numbers, and writing the file. Does not: counting
(`report_data`), pictures (`report_pictures`), fixed words and style (`report_words`).

The concept: the page asks for nothing from outside and runs nothing; what it says is said without colour or picture as
well. It has no clock: the same scores and facts give the same bytes.
"""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from geno_model.files import replacing_file
from geno_model.scoring.calibration import percentile_in_words
from geno_model.scoring.errors import OutputError
from geno_model.scoring.known_pathogenic import KnownPathogenic
from geno_model.scoring.report_data import ANY_EDITS, HIGH, ReportData
from geno_model.scoring.report_pictures import MAX_MARKS, chromosomes, histogram, number, percent, wilson
from geno_model.scoring.report_words import (
    AMONG,
    COLUMNS,
    COUNSELLOR,
    DISPLACEMENT_INTRO,
    EDITS,
    LIMITS,
    NOTICE,
    PERCENTILE_INTRO,
    PERCENTILE_LIMITS,
    REASONS,
    STYLE,
    SYNTHETIC,
)

__all__ = ["ReportData", "write_report"]

TITLE = "How surprising are these variants?"
_TEXT_COLUMNS = (
    "Position", "Change", "Type", "Region", "Repeat", "Bucket", "Reason", "What it means", "Carried", "Edits",
    "Compared with common variants of",
)  # fmt: skip
_FEW = 1_000  # variants, below which 50 bars show little but chance


def write_report(path: Path, gather: ReportData, facts: Mapping[str, str], *, is_synthetic: bool = False) -> None:
    """Write the page to `path`, whole or not at all.

    facts: what identifies the run, in the order to show: name to text. "input" and "made" are in the head as well.
    is_synthetic: whether the data of the release were made up (`ReleaseConfig.is_synthetic`).
    Raises `OutputError` where the file cannot be written.
    """
    text = report_page(gather, facts, is_synthetic=is_synthetic)
    try:
        with replacing_file(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(
            f"report {path} cannot be written: {error.strerror}; name a file in a folder that may be written to"
        ) from None


def report_page(gather: ReportData, facts: Mapping[str, str], *, is_synthetic: bool = False) -> str:
    """The page as HTML. Arguments as of `write_report`; all text is escaped."""
    sections = [("map", "Where the variants lie", _where(gather))]
    if not gather.listed().is_empty():
        sections.insert(0, ("listed", "Listed as pathogenic in ClinVar", _listed(gather)))
    if gather.has_percentiles:
        sections += [
            ("percentiles", "Percentiles, and what chance would give", _percentiles(gather)),
            ("compared", "What each variant was compared with", _comparisons(gather)),
        ]
    sections += [
        ("regions", "By kind of region", _regions(gather)),
        (
            "top",
            "The most surprising variants" if gather.has_percentiles else "The largest displacements",
            _top(gather),
        ),
        ("left-out", "What was left out", _left_out(gather)),
        ("limits", "What this cannot tell you", _limits(gather)),
        ("identity", "How it was made", _facts(facts)),
    ]
    links = "\n".join(f'<a href="#{name}">{name.replace("-", " ").capitalize()}</a>' for name, _, _ in sections)
    body = "\n".join(f'<section>\n<h2 id="{name}">{title}</h2>\n{text}\n</section>' for name, title, text in sections)
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{TITLE}</title>\n<style>\n{STYLE}\n</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n<header>\n'
        f'{_header(gather, facts, is_synthetic)}\n<nav aria-label="Sections">\n{links}\n</nav>\n</header>\n'
        f"<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _header(gather: ReportData, facts: Mapping[str, str], is_synthetic: bool) -> str:
    under = " · ".join(facts[name] for name in ("input", "made") if name in facts)
    counts = [
        ("records read", gather.n_records),
        ("alleles", gather.n_alleles),
        ("scored", gather.n_scored),
        ("excluded", gather.n_excluded),
    ]
    if gather.has_percentiles:
        counts.append(("compared with < 100", gather.n_low_confidence))
    boxes = "".join(f"<div><dt>{html.escape(name)}</dt><dd>{number(n)}</dd></div>" for name, n in counts)
    lines = [f"<h1>{TITLE}</h1>"]
    if under:
        lines.append(f'<p class="under">{html.escape(under)}</p>')
    notice = f"{NOTICE} {SYNTHETIC if is_synthetic else COUNSELLOR}"
    lines.append(f'<p class="{"warning" if is_synthetic else "notice"}">{html.escape(notice)}</p>')
    lines += _warnings(gather.pathogenic, is_synthetic)
    intro = f"{PERCENTILE_INTRO} {_shares(gather)}" if gather.has_percentiles else DISPLACEMENT_INTRO
    lines.append(_paragraph(intro))
    lines.append(f'<dl class="counts">{boxes}</dl>')
    return "\n".join(lines)


def _warnings(pathogenic: KnownPathogenic, is_synthetic: bool) -> list[str]:
    lines = []
    unknown = "Without genotypes it is unknown whether anybody carries them."
    for n, which, known, advice in (
        (pathogenic.n_carried, "that a genotype carries", "", "Please talk to a genetic counsellor."),
        (pathogenic.n_unknown, "of this input", unknown, "Anyone who does should talk to a genetic counsellor."),
    ):
        if n:
            told = "That ClinVar is made up, so this is about nobody." if is_synthetic else advice
            alleles = f"1 allele {which} is" if n == 1 else f"{number(n)} alleles {which} are"
            lines.append(
                f'<p class="warning"><strong>{alleles} listed as pathogenic or likely pathogenic in the ClinVar that '
                f'the model&#x27;s data were made with: <a href="#listed">the list</a>. {known} {told}</strong> The '
                "surprise says nothing about that: a listed allele may have a low one, and a high one does not make an "
                "allele pathogenic.</p>"
            )
    return lines


def _listed(gather: ReportData) -> str:
    listed, n = gather.listed(), gather.pathogenic.n_carried + gather.pathogenic.n_unknown
    text = "In the order of their positions. An allele without a score has the reason in place of its percentile."
    if n > listed.height:
        text += f" These are the first {number(listed.height)} of {number(n)}."
    columns = ["Position", "Change", "Type", "Region", "Carried"]
    columns += ["Percentile"] if gather.has_percentiles else ["Displacement"]
    rows = [[_cell(name, row) for name in columns] for row in listed.iter_rows(named=True)]
    return f"{_paragraph(text)}\n{_table(columns, rows, kind='fit')}"


def _where(gather: ReportData) -> str:
    places = gather.places()
    if not places:
        return _paragraph("No allele was scored.")
    n_marks = min(MAX_MARKS, max(1, gather.n_scored // 10), gather.top().height)
    return chromosomes(places, gather.contigs, gather.top(), n_marks)


def _percentiles(gather: ReportData) -> str:
    n, n_high = gather.n_scored, gather.n_high
    low, high = wilson(n_high, n)
    verdict = "about what" if low <= 1 - HIGH <= high else ("fewer than" if high < 1 - HIGH else "more than")
    chance = n * (1 - HIGH)
    text = (
        f"{number(n_high)} of {number(n)} variants ({percent(n_high / n)}; 95 % interval {percent(low)} to "
        f"{percent(high)}) lie above {HIGH}. Chance would give 1 %, which is {chance:,.4g} of "
        f"{number(n)}: this is {verdict} chance gives."
    )
    if n < _FEW:
        text += f" With only {number(n)} variants, the bars differ from each other mostly by chance."
    meaning = (
        "If the variants were like the common ones that they were compared with, all bars would reach the dashed line. "
        "More on the right means that more of them are surprising than of common ones, which is usual for rare "
        "variants. The interval takes the variants as independent, which neighbours are not quite."
    )
    return f"{_paragraph(text)}\n{histogram(gather.histogram())}\n{_paragraph(meaning)}"


def _shares(gather: ReportData) -> str:
    """How many variants were compared with common ones of their own kind of region, and how many were not."""
    rows = gather.comparisons()
    n, own = int(rows["n"].sum()), int(rows.filter(pl.col("n_parts") > 0)["n"].sum())
    if own == n:
        return "Each variant was compared with common variants of its own kind of region."
    rest = (
        "with common variants of all regions, because the calibration has fewer than 1,000 of its own kind of region."
    )
    if not own:
        return f"Each variant was compared {rest}"
    return (
        f"{percent(own / n)} of the variants were compared with common variants of their own kind of region, "
        f"{percent(1 - own / n)} {rest.replace('its', 'their')}"
    )


def _comparisons(gather: ReportData) -> str:
    rows = []
    for edits, n_parts, n, least, most in gather.comparisons().iter_rows():
        there = "unknown" if n_parts == ANY_EDITS else number(least) + (f" to {number(most)}" if most > least else "")
        share = percent(n / gather.n_scored)
        name = f'<th scope="row">{EDITS[edits]}</th><td class="text">{AMONG[n_parts]}</td>'
        rows.append([name, *map(_number, (number(n), share, there))])
    columns = ["Edits", "Compared with common variants of", "Variants", "Share", "Common variants there"]
    return f"{_paragraph(_shares(gather))}\n{_table(columns, rows, kind='fit')}"


def _regions(gather: ReportData) -> str:
    regions = gather.regions()
    if regions.is_empty():
        return _paragraph("No allele was scored.")
    if not gather.has_percentiles:
        rows = [
            [_row_name(region), _number(number(n)), _number(percent(n / gather.n_scored))]
            for region, n in regions.select("region_class", "n").iter_rows()
        ]
        return _table(["Region", "Variants", "Share"], rows, kind="fit")
    rows = []
    for region, n, median, n_high, n_own in regions.iter_rows():
        low, high = map(percent, wilson(n_high, n))
        # A median of fewer than a hundred variants has no more than two digits.
        cells = [number(n), percentile_in_words(median, 99), percent(n_high / n), f"{low[:-2]} to {high}"]
        rows.append([_row_name(region), *map(_number, (*cells, percent(n_own / n)))])
    if regions["n_own"].sum() == gather.n_scored:
        note = f"{_shares(gather)} So chance would give a median of 0.5 and 1 % above 0.99 in every row."
    else:
        note = (
            "The last column is the share that was compared with common variants of its own kind of region. Where it "
            "is 100 %, chance would give a median of 0.5 and 1 % above 0.99. Elsewhere the row also shows how this "
            "kind of region differs from the rest of the genome, which is no finding about these variants."
        )
    note += " Where the interval holds 1 %, the row says no more than that."
    columns = ["Region", "Variants", "Median", "Above 0.99", "95 % interval", "Own kind"]
    return f"{_paragraph(note)}\n{_table(columns, rows, kind='fit regions')}"


def _top(gather: ReportData) -> str:
    top = gather.top()
    if top.is_empty():
        return _paragraph("No allele was scored.")
    first = f"The first {number(top.height)} of {number(gather.n_scored)}"
    if gather.has_percentiles:
        order = (
            "by percentile, then raw surprise, then position. Such a list is never empty, whatever the genome: it is "
        )
    else:
        order = "by displacement, then position. Such a list is never empty, whatever the genome: it is "
    text = f"{first} {order}a place to start looking, not a finding."
    is_low = top["low_confidence"].to_list() if gather.has_percentiles else []
    n_low = is_low.count(True)
    if n_low:
        text += (
            f" {number(n_low)} of them {'is' if n_low == 1 else 'are'} marked LOW: compared with fewer than 100 common "
            "variants, their place in the list means little."
        )
    columns = _columns(gather, top)
    rows = [[_cell(name, row) for name in columns] for row in top.iter_rows(named=True)]
    table = _table(columns, rows, kind="top", is_low=is_low)
    words = "".join(f"<dt>{name}</dt><dd>{html.escape(COLUMNS[name])}</dd>" for name in columns)
    details = f'<details>\n<summary>What the columns mean</summary>\n<dl class="words">{words}</dl>\n</details>'
    hint = '<p class="small narrow">The table goes on to the right.</p>'
    return f"{_paragraph(text)}\n{details}\n{hint}\n{table}"


def _columns(gather: ReportData, top: Any) -> list[str]:
    """The columns of the long table: those of a head that was not asked for are left out."""
    absent = {
        name
        for name, column in (("Raw", "surprise_raw"), ("Displacement", "displacement"), ("ΔlogLik", "delta_loglik"))
        if top[column].is_null().all()
    }
    if not gather.has_percentiles:
        absent |= {"Percentile", "Bucket", "n"}
    return [name for name in COLUMNS if name not in absent]


def _cell(column: str, row: Mapping[str, Any]) -> str:
    """A cell of the long table, with its tag."""
    match column:
        case "Position":
            return f'<th scope="row">{_place(row)}</th>'
        case "Change":
            flag = '<span class="flag">ClinVar</span> ' if row["is_listed"] else ""
            return f'<td class="bases">{flag}{html.escape(row["ref"])}&gt;{html.escape(row["alt"])}</td>'
        case "Carried":
            return f"<td>{'yes' if row['is_carried'] else 'unknown: no genotypes'}</td>"
        case "Type":
            return f"<td>{html.escape(row['edit_type'])}</td>"
        case "Region" | "Repeat":
            return f"<td>{_plain(row['region_class' if column == 'Region' else 'repeat_class'])}</td>"
        case "Bucket":
            bucket = html.escape(row["bucket_id"] or "–").replace("|", "|<wbr>")
            return f'<td class="bucket"><code>{bucket}</code></td>'
        case "Percentile" | "Displacement" if row["reason"]:
            return f"<td><code>{html.escape(row['reason'])}</code></td>"
        case "Percentile" if row["surprise"] is not None:
            flag = '<span class="flag">LOW</span> ' if row["low_confidence"] else ""
            shown = html.escape(percentile_in_words(row["surprise"], row["n_calibration"]))
            return f'<td class="number">{flag}{shown}</td>'
        case "n":
            return _number(number(row["n_calibration"]))
    value = {"Percentile": "surprise", "Raw": "surprise_raw", "Displacement": "displacement", "ΔlogLik": "delta_loglik"}
    return _number(number(row[value[column]]))


def _place(row: Mapping[str, Any]) -> str:
    """Contig and position, and under it how the file spells the allele where that differs."""
    place = f"{html.escape(row['contig'])}:{number(row['pos'])}"
    given = (row["vcf_pos"], row["vcf_ref"], row["vcf_alt"])
    if given == (row["pos"], row["ref"], row["alt"]):
        return place
    spelt = f"in the file {row['vcf_chrom']}:{number(row['vcf_pos'])} {row['vcf_ref']}>{row['vcf_alt']}"
    return f'{place}<span class="given">{html.escape(spelt)}</span>'


def _left_out(gather: ReportData) -> str:
    reasons = gather.reasons()
    if not reasons:
        return _paragraph(f"Nothing: all {number(gather.n_alleles)} alleles were scored.")
    n, n_all = gather.n_excluded, gather.n_alleles
    text = (
        f"{number(n)} of {number(n_all)} alleles ({percent(n / n_all)}) {'has' if n == 1 else 'have'} no score. "
        "What was left out is in the output, each allele with its reason."
    )
    rows = [
        [
            f'<th scope="row"><code>{html.escape(name)}</code></th>',
            _number(number(n)),
            f'<td class="text">{html.escape(REASONS[name])}</td>',
        ]
        for name, n in reasons.items()
    ]
    return f"{_paragraph(text)}\n{_table(['Reason', 'Alleles', 'What it means'], rows, kind='fit reasons')}"


def _limits(gather: ReportData) -> str:
    limits = (*PERCENTILE_LIMITS, *LIMITS) if gather.has_percentiles else LIMITS
    return f"<ul>\n{_lines([f'<li>{html.escape(text)}</li>' for text in limits])}\n</ul>"


def _facts(facts: Mapping[str, str]) -> str:
    if not facts:
        return _paragraph("Nothing is known of the model and the input.")
    rows = [
        f'<tr><th scope="row">{html.escape(name)}</th><td>{html.escape(text)}</td></tr>' for name, text in facts.items()
    ]
    return f'<div class="scroll fit facts"><table>\n<tbody>\n{_lines(rows)}\n</tbody>\n</table></div>'


def _table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    kind: str,
    is_low: Sequence[bool | None] = (),
) -> str:
    """A table that scrolls in its own box. rows: cells with their tags."""
    heads = [
        f'<th scope="col">{name}</th>' if name in _TEXT_COLUMNS else f'<th scope="col" class="number">{name}</th>'
        for name in columns
    ]
    low = [' class="low"' if mark else "" for mark in is_low] or [""] * len(rows)
    lines = [f"<tr{mark}>{''.join(cells)}</tr>" for mark, cells in zip(low, rows, strict=True)]
    # A box that scrolls must be reachable with the keyboard.
    return (
        f'<div class="scroll {kind}" tabindex="0" role="region" aria-label="{columns[0]} table"><table>\n'
        f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{_lines(lines)}\n</tbody>\n</table></div>"
    )


def _row_name(text: str) -> str:
    return f'<th scope="row">{_plain(text)}</th>'


def _number(text: str) -> str:
    return f'<td class="number">{html.escape(text)}</td>'


def _plain(name: str | None) -> str:
    """A class of `data_contracts` in words."""
    words = {"utr5": "5\N{PRIME} UTR", "utr3": "3\N{PRIME} UTR"}
    return html.escape(words.get(name, name.replace("_", " ")) if name else "–")


def _lines(parts: Sequence[str]) -> str:
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    unbroken = text.replace(" %", "\N{NO-BREAK SPACE}%")
    return f"<p>{html.escape(unbroken)}</p>"
