"""The fixed words of the report of a run, and how it looks (spec 5, `--report`).

Belongs here: sentences that do not depend on the input, one for each reason and each column, and the style sheet. Does
not: what is counted (`report_data`), the order of the page (`report`).
"""

from __future__ import annotations

from data_contracts.calibration import INDEL, SUBSTITUTION
from geno_model.scoring.report_data import ANY_EDITS

NOTICE = "Research tool, not a clinical diagnostic."
COUNSELLOR = "If a result concerns you, talk to a genetic counsellor."
SYNTHETIC = (
    "Synthetic data: the genome, the people and the ClinVar that this model was made from were made up. Nothing on "
    "this page says anything about a person."
)

REASONS = {
    "too_long": "An allele is longer than 16 bases: a structural variant, which the model was not made for.",
    "symbolic": "The alternate allele is a symbol such as <DEL>, without bases that could be put into the sequence.",
    "spanning_deletion": "The alternate allele is *: the place lies in a deletion that another record describes.",
    "breakend": "The record joins two places of the genome (a breakend), which is more than a change in one window.",
    "ambiguous_base": "An allele, or the reference there, has a letter other than A, C, G and T.",
    "no_alt": "The record has no alternate allele, or one equal to the reference: nothing changes.",
    "ref_mismatch": "The reference allele is not what the FASTA has there; often a VCF of another genome build.",
    "contig_unknown": "The chromosome or contig is not in the FASTA, under any of its usual names.",
    "filtered": "The FILTER column is neither PASS nor a dot, and only records that passed were asked for.",
    "duplicate": "The same allele, once normalised, was already there.",
    "low_af": "The allele is rarer than what was asked for.",
    "out_of_range": "No window fits around it: beyond the contig's end, a contig shorter than a window, or beside "
    "unknown sequence (N).",
    "little_context": "It lies near an end of its contig, within 2,042 bases with the usual windows. With so little "
    "DNA on one side the model's numbers are not of the kind that percentiles are made of, and mostly look extreme.",
}
"""Why an allele was left out: a sentence for each of `geno_model.genomics.alleles.REASONS`."""

PERCENTILE_INTRO = (
    "A model of DNA predicted what each variant does to the sequence around it. Surprise says how far that prediction "
    "missed. The percentile compares it with common variants: 0.95 means more surprising than 95 of 100 of them. It is "
    "not a measure of harm."
)
DISPLACEMENT_INTRO = (
    "A model of DNA predicted what each variant does to the sequence around it. Only the displacement was asked for: "
    "how far the model expects the sequence's description to move. It is not compared with common variants, so this "
    "page has no percentiles. It is not a measure of harm."
)

COLUMNS = {
    "Position": "Chromosome and position of the first changed base, counted from 1, after the allele was trimmed and "
    "moved as far left as it can be. Where the file spells it differently, that is below it.",
    "Change": "Bases of the reference > bases in their place. ClinVar: listed there as pathogenic or likely so.",
    "Percentile": "Share of common variants in the same bucket that are less surprising, 0 to 1. Above all n of them "
    "stands > n / (n + 1), which is all that n variants can tell. LOW: the bucket has fewer than 100, so that the "
    "percentile and the place in this table mean little.",
    "Raw": "Raw surprise: distance between the predicted and the encoded state. Only comparable within a bucket.",
    "Displacement": "How far the model expects the state to move: 1 less the cosine of the predicted and the unedited "
    "state.",
    "ΔlogLik": "Log likelihood of the alternate less that of the reference, by the encoder itself. Below 0: the change "
    "makes the sequence less likely.",
    "Type": "SNV: one base for another. INS, DEL: bases added, removed. MNV: several bases for as many others. "
    "INDEL: several for a different number.",
    "Region": "The most severe thing that any transcript has there, from coding nonsense to intergenic. "
    "Other: exons that code for no protein, and contigs without annotated genes.",
    "Repeat": "Whether the place is repetitive: simple, low complexity, transposon, segmental duplication, or none.",
    "Bucket": "The common variants that it was compared with: region | third of GC content | repeat, or a coarser "
    "bucket where that one was too small; * is all of them.",
    "n": "How many common variants the bucket has. In the other outputs, confidence is n / 1,000, at most 1, and "
    "low_confidence marks what is below 0.1: fewer than 100.",
}
"""What each column of the long table means, in their order: numbers first, as a telephone shows three columns."""

EDITS = {SUBSTITUTION: "SNVs and MNVs", INDEL: "Insertions and deletions"}
AMONG = {
    3: "the same kind of region, third of GC content and kind of repeat",
    2: "the same kind of region and third of GC content",
    1: "the same kind of region",
    0: "all regions",
    ANY_EDITS: "all regions and all types of edit, as there were none of its own: confidence 0",
}
"""What percentiles are among, by `n_parts` of `ReportData.comparisons`."""

PERCENTILE_LIMITS = (
    "The percentile is not harm. It says that the model was surprised, which harmless variants also do and harmful "
    "ones may not.",
    "Among variants like those of the calibration, 1 in 100 lies above 0.99 by definition: 1,000 variants give about "
    "ten, a whole genome tens of thousands. A long list of them is no finding.",
)
LIMITS = (
    "With small encoders, scores depend on the window's phase: where the six-base tokens happen to begin decides much "
    "of a single variant's score (RFC 0004). Do not read a single score alone.",
    "Insertions and deletions shift all tokens behind them. Their scores are less comparable than those of SNVs, and "
    "alleles over 16 bases have none.",
    "Each allele is scored alone, on the reference: not with its neighbours on the same chromosome, nor by whether one "
    "copy carries it or two.",
    "Not for diagnosis, treatment or any decision about health. What is not in this list may matter, and what is in it "
    "may not.",
)

STYLE = """
:root { color-scheme: light dark; --page: #ffffff; --ink: #1b1f24; --soft: #555e68; --line: #d5dae0; --panel: #f4f6f8;
  --bar: #4a86b8; --mark: #c2410c; --track: #e9edf1; --box: #fdf3e7; --box-line: #c2410c; --calm: #eaf2f9;
  --link: #1f5f96; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --ink: #e7eaee; --soft: #a9b2bc; --line: #39414a;
  --panel: #1e2329; --bar: #6aa9dc; --mark: #ff9a5c; --track: #262c33; --box: #33251a; --box-line: #ff9a5c;
  --calm: #1b2833; --link: #85baea; } }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; max-width: 82rem; margin: 0 auto;
  padding: 1.25rem clamp(.9rem, 2vw, 2rem) 4rem; color: var(--ink); background: var(--page); overflow-wrap: anywhere; }
h1 { font-size: 1.75rem; line-height: 1.2; margin: 0; } h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; }
p, ul { max-width: 48rem; margin: .5rem 0; } ul { padding-left: 1.2rem; } li { margin: .35rem 0; }
.under { color: var(--soft); margin-top: .25rem; } .small { color: var(--soft); font-size: .875rem; }
.notice, .warning { border-left: 4px solid var(--bar); background: var(--calm); padding: .6rem 1rem; margin: 1rem 0;
  border-radius: 0 6px 6px 0; max-width: none; }
.warning { border: 2px solid var(--box-line); background: var(--box); border-radius: 6px; }
nav { display: flex; flex-wrap: wrap; gap: .15rem 1.1rem; font-size: .95rem; }
a { color: var(--link); } nav a { padding: .25rem 0; }
.counts { display: grid; grid-template-columns: repeat(auto-fit, minmax(8.25rem, 1fr)); gap: .6rem; margin: 1.25rem 0; }
.counts div { background: var(--panel); border-radius: 8px; padding: .7rem .9rem; display: flex;
  flex-direction: column-reverse; }
.counts dd { margin: 0; font-size: 1.45rem; font-weight: 600; line-height: 1.2; overflow-wrap: normal; }
.counts dt { color: var(--soft); font-size: .875rem; }
.map { display: grid; grid-template-columns: minmax(2.5rem, max-content) 1fr minmax(3.2rem, max-content);
  gap: 3px .6rem; align-items: center; margin: 1rem 0 .5rem; font-size: .875rem; }
.map .name { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 9rem; }
.map .n { text-align: right; color: var(--soft); font-variant-numeric: tabular-nums; overflow-wrap: normal; }
svg { display: block; width: 100%; } .map svg { height: 26px; min-width: 4px; }
.few svg { height: 64px; }
.track { fill: var(--track); } .bar { fill: var(--bar); } .high { fill: var(--mark); }
.mark { stroke: var(--mark); stroke-width: 2; vector-effect: non-scaling-stroke; }
.grid { stroke: var(--line); stroke-width: 1; vector-effect: non-scaling-stroke; }
.expected { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 6 4; vector-effect: non-scaling-stroke; }
.chart { position: relative; margin: 1.5rem 0 0 3.4rem; } .chart.axis { margin-top: 0; } .chart svg { height: 15rem; }
.chart .y { position: absolute; right: calc(100% + .5rem); transform: translateY(50%); }
.chart .x { display: flex; justify-content: space-between; padding-top: .25rem; }
.chart .x, .chart .y { color: var(--soft); font-size: .8125rem; white-space: nowrap; }
.key { display: flex; flex-wrap: wrap; gap: .15rem 1.3rem; margin: .5rem 0; font-size: .875rem; color: var(--soft); }
.key span { display: inline-flex; align-items: center; gap: .45rem; }
.key svg { width: 22px; height: 14px; flex: none; }
.scroll { overflow-x: auto; margin: .75rem 0; border: 1px solid var(--line); border-radius: 8px; max-width: 100%; }
.fit { width: fit-content; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; width: 100%;
  overflow-wrap: normal; }
th, td { padding: .4rem .6rem; border-bottom: 1px solid var(--line); text-align: left; white-space: nowrap;
  vertical-align: top; }
tbody tr:last-child > * { border-bottom: 0; }
thead th { background: var(--panel); color: var(--soft); font-weight: 600; }
tbody th { font-weight: 600; } .number { text-align: right; } td.text { white-space: normal; min-width: 15rem; }
.top tbody th { white-space: normal; min-width: 9.5rem; max-width: 14rem; }
td.bases { white-space: normal; min-width: 6rem; max-width: 11rem; overflow-wrap: anywhere; }
td.bucket { font-size: .8125rem; }
.given { display: block; color: var(--soft); font-size: .8125rem; font-weight: 400; }
code, .bases { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .95em; }
.low > * { background: var(--box); } .flag { color: var(--mark); font-weight: 700; font-size: .8125rem; }
.facts td { white-space: normal; overflow-wrap: anywhere; } .facts th { white-space: normal; min-width: 7rem; }
details { margin: .75rem 0; } summary { cursor: pointer; font-weight: 600; padding: .3rem 0; }
.words dt { font-weight: 600; margin-top: .6rem; } .words dd { margin: 0; max-width: 48rem; }
.narrow { display: none; }
@media (max-width: 640px) { .narrow { display: block; }
  .scroll tbody th { position: sticky; left: 0; background: var(--page); }
  .top .low th { background: var(--box); } .chart svg { height: 12rem; } .few svg { height: 48px; }
  .fit th, .fit td { padding: .35rem .25rem .35rem .4rem; } wbr { display: none; }
  .fit th, .regions td:last-child { white-space: normal; }
  .regions table { font-size: .8125rem; }
  .reasons thead { display: none; } .reasons tr { display: grid; grid-template-columns: 1fr auto;
    border-bottom: 1px solid var(--line); } .reasons tr > * { border: 0; }
  .reasons tr:last-child { border: 0; } td.text { grid-column: 1 / -1; min-width: 0; }
  .counts div:last-child:nth-child(odd) { grid-column: 1 / -1; } }
@page { margin: 12mm; }
@media print { :root { font-size: 10px; color-scheme: light; --page: #fff; --ink: #000; --soft: #444; --line: #bbb;
    --panel: #f1f1f1; --bar: #3b76a8; --mark: #b03a08; --track: #e4e8ec; --box: #fdf3e7; --box-line: #b03a08;
    --calm: #eaf2f9; --link: #1f5f96; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 1.1rem; max-width: none; padding: 0; } nav { display: none; } .scroll { overflow: visible; }
  h2 { break-after: avoid; } tr, .chart, .counts, .map > * { break-inside: avoid; } .map svg { height: 16px; }
  .top table { font-size: .8rem; } .top th, .top td { padding: .2rem .3rem; }
  td.bucket { white-space: normal; font-size: .75rem; }
  details::details-content { content-visibility: visible; block-size: auto; } .chart svg { height: 10rem; } }
""".strip()
