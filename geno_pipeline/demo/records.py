"""VCF records of the demo: population sites, phased genotypes, ClinVar-like labels, one person.

Belongs here: joining alleles into records, counts and genotypes as text, header lines, records that a reader must
exclude. Does not belong here: which alleles there are (population.py, clinvar.py), files (write.py).

Concept: a record joins the alleles at one position under the longest REF, so a reader has to trim them again. A few odd
records (`*`, `<DEL>`, longer than 16 bp, N) are added where no variant is near, so that accounting has what to count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from geno_pipeline.demo.config import DemoConfig, generator
from geno_pipeline.demo.effects import SPLICE, TRUNCATING, Effects
from geno_pipeline.demo.genome import ContigGenome
from geno_pipeline.demo.population import POPULATIONS, Population, align_left
from geno_pipeline.demo.sequence import LETTERS, N, decode

CORE = ("chrom", "pos", "id", "ref", "alt", "qual", "filter", "info")
_CLEARANCE_BP = 90
_ODD_KINDS = ("star", "structural", "long", "ambiguous")
_AC0_SHARE, _RF_SHARE = 0.006, 0.006
_PLANTED = 6

GNOMAD_HEADER = (
    '##FILTER=<ID=AC0,Description="Allele count is zero">',
    '##FILTER=<ID=RF,Description="Failed random forest filter">',
    '##INFO=<ID=AC,Number=A,Type=Integer,Description="Alternate allele count">',
    '##INFO=<ID=AN,Number=1,Type=Integer,Description="Total number of alleles">',
    '##INFO=<ID=AF,Number=A,Type=Float,Description="Alternate allele frequency">',
    *(
        line
        for name in POPULATIONS
        for line in (
            f'##INFO=<ID=AC_{name},Number=A,Type=Integer,Description="Alternate allele count in {name}">',
            f'##INFO=<ID=AN_{name},Number=1,Type=Integer,Description="Total number of alleles in {name}">',
            f'##INFO=<ID=AF_{name},Number=A,Type=Float,Description="Alternate allele frequency in {name}">',
        )
    ),
)
SV_HEADER = (
    '##ALT=<ID=DEL,Description="Deletion">',
    '##INFO=<ID=END,Number=1,Type=Integer,Description="End position of the variant">',
    '##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Type of structural variant">',
)
PHASED_HEADER = (
    *GNOMAD_HEADER[2:5],
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype">',
)
CLINVAR_HEADER = (
    '##ID=<Description="Synthetic variation identifier">',
    '##INFO=<ID=ALLELEID,Number=1,Type=Integer,Description="Synthetic allele identifier">',
    '##INFO=<ID=CLNREVSTAT,Number=.,Type=String,Description="Review status">',
    '##INFO=<ID=CLNSIG,Number=.,Type=String,Description="Aggregate classification">',
    '##INFO=<ID=CLNVC,Number=1,Type=String,Description="Variant type">',
    '##INFO=<ID=GENEINFO,Number=1,Type=String,Description="Gene symbol and identifier">',
    '##INFO=<ID=MC,Number=.,Type=String,Description="Molecular consequence: SO term|name">',
)
SAMPLE_HEADER = (
    '##FORMAT=<ID=GT,Number=1,Type=String,Description="Genotype">',
    '##FORMAT=<ID=GQ,Number=1,Type=Integer,Description="Genotype quality">',
    '##FORMAT=<ID=DP,Number=1,Type=Integer,Description="Read depth">',
)


@dataclass(frozen=True, slots=True)
class PopulationRecords:
    """`sites`: gnomAD-like records. `phased`: records with genotypes, columns of CORE plus format and genotypes (one
    tab-separated string for all people)."""

    sites: pl.DataFrame
    phased: pl.DataFrame


def join_records(alleles: pl.DataFrame) -> tuple[pl.DataFrame, NDArray[np.int64], NDArray[np.int64]]:
    """Join alleles (sorted by pos; columns pos, ref, alt) into one record a position.

    Returns the alleles with `ref` and `alt` extended to the longest REF of the position, the record of each allele and
    its 1-based rank in it.
    """
    longest = pl.col("ref").sort_by(pl.col("ref").str.len_bytes()).last().over("pos")
    extended = alleles.with_columns(
        ref=longest, alt=pl.col("alt") + longest.str.slice(pl.col("ref").str.len_bytes().cast(pl.Int64))
    )
    record = (alleles["pos"].rle_id()).to_numpy().astype(np.int64)
    first = np.flatnonzero(np.r_[True, np.diff(record) > 0]) if record.size else np.empty(0, np.int64)
    return extended, record, np.arange(record.size) - first[record] + 1


def _group_columns(population: NDArray[np.int64], group: int) -> NDArray[np.int64]:
    """Haplotype columns of the people of one population."""
    people = np.flatnonzero(population == group)
    return np.sort(np.r_[2 * people, 2 * people + 1])


def _counts_info(people: Population, haplotypes: NDArray[np.bool_], record: NDArray[np.int64]) -> pl.Series:
    """INFO of each record: AC, AN, AF over all and by population, alleles separated by commas."""
    columns = {"": np.arange(haplotypes.shape[1])}
    columns |= {f"_{name}": _group_columns(people.population, i) for i, name in enumerate(POPULATIONS)}
    frame = pl.DataFrame({"record": record})
    parts: list[pl.Expr] = []
    for suffix, chosen in columns.items():
        copies = haplotypes[:, chosen].sum(axis=1)
        frame = frame.with_columns(
            pl.Series(f"AC{suffix}", copies).cast(pl.String),
            pl.Series(f"AF{suffix}", np.round(copies / chosen.size, 6)).cast(pl.String),
        )
        parts += [
            pl.format(f"AC{suffix}={{}}", pl.col(f"AC{suffix}").str.join(",")),
            pl.lit(f"AN{suffix}={chosen.size}"),
            pl.format(f"AF{suffix}={{}}", pl.col(f"AF{suffix}").str.join(",")),
        ]
    return frame.group_by("record", maintain_order=True).agg(pl.concat_str(parts, separator=";").alias("info"))["info"]


def _genotypes(haplotypes: NDArray[np.bool_], record: NDArray[np.int64], rank: NDArray[np.int64]) -> list[str]:
    """Phased genotypes of each record, `0|1` for each person, tab-separated. At most nine alleles a record."""
    numbers = np.zeros((int(record[-1]) + 1 if record.size else 0, haplotypes.shape[1]), dtype=np.uint8)
    for each in range(1, int(rank.max(initial=0)) + 1):
        numbers[record[rank == each]] += np.uint8(each) * haplotypes[rank == each]
    text = np.empty((numbers.shape[0], numbers.shape[1] // 2, 4), dtype=np.uint8)
    text[:, :, 0], text[:, :, 2] = numbers[:, 0::2] + ord("0"), numbers[:, 1::2] + ord("0")
    text[:, :, 1], text[:, :, 3] = ord("|"), ord("\t")
    width = 2 * numbers.shape[1]
    flat = text.tobytes().decode("ascii")
    return [flat[at : at + width - 1] for at in range(0, len(flat), width)]


def free_positions(contig: ContigGenome, alleles: pl.DataFrame) -> NDArray[np.int64]:
    """0-based positions with no variant and no N within 90 bp."""
    near = contig.codes == N
    near[[0, -1]] = True
    near[alleles["pos"].to_numpy() - 1] = True
    total = np.cumsum(np.pad(near.astype(np.int64), (_CLEARANCE_BP + 1, _CLEARANCE_BP)))
    return np.flatnonzero(total[2 * _CLEARANCE_BP + 1 :] == total[: -(2 * _CLEARANCE_BP + 1)])


def odd_records(
    contig: ContigGenome, free: NDArray[np.int64], kinds: tuple[str, ...], n_each: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Records that no reader may keep: columns pos (1-based), ref, alt, extra (INFO text or null), one allele each.

    They stand at least 181 bp apart, so that none reaches another.
    """
    block = free // (2 * _CLEARANCE_BP + 1)
    apart = free[np.r_[True, np.diff(block) > 0][: free.size] & (block % 2 == 0)]
    chosen = rng.choice(apart, min(apart.size, n_each * len(kinds)), replace=False)
    rows: list[tuple[int, str, str, str | None]] = []
    for order, at in enumerate(chosen):
        kind, base = kinds[order % len(kinds)], decode(contig.codes[at : at + 1])
        size = int(rng.integers(18, 41))
        if kind == "star":
            rows.append((int(at) + 1, base, "*", None))
        elif kind == "structural":
            rows.append((int(at) + 1, base, "<DEL>", f"SVTYPE=DEL;END={int(at) + 1 + size}"))
        elif kind == "long":
            anchor, lost = align_left(contig.codes, int(at), contig.codes[at + 1 : at + 1 + size])
            base = decode(contig.codes[anchor : anchor + 1])
            rows.append((anchor + 1, base + decode(lost), base, None))
        else:
            rows.append((int(at) + 1, base, base + "N", None))
    schema = {"pos": pl.Int64, "ref": pl.String, "alt": pl.String, "extra": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _finish(frame: pl.DataFrame, contig: str, **more: str) -> pl.DataFrame:
    """Add the columns that are the same in every record, and put CORE in order."""
    constants = {"chrom": contig, "id": ".", "qual": ".", "filter": "PASS", **more}
    added = {name: pl.lit(value) for name, value in constants.items() if name not in frame.columns}
    tail = [name for name in ("format", "genotypes") if name in frame.columns or name in added]
    return frame.with_columns(**added).select(*CORE, *tail).sort("pos", maintain_order=True)


def _no_carrier_sites(
    contig: ContigGenome, people: Population, free: NDArray[np.int64], rng: np.random.Generator
) -> pl.DataFrame:
    """AC0 records: seen by the caller, carried by nobody with a good genotype."""
    size = min(free.size, round(people.alleles.height * _AC0_SHARE))
    at = np.sort(rng.choice(free, size, replace=False))
    to = (contig.codes[at] + rng.integers(1, 4, size)) % 4
    nobody = np.zeros((size, people.haplotypes.shape[1]), dtype=bool)
    return pl.DataFrame(
        {
            "pos": at + 1,
            "ref": LETTERS[contig.codes[at]].view("S1").astype(str),
            "alt": LETTERS[to].view("S1").astype(str),
            "info": _counts_info(people, nobody, np.arange(size)),
            "filter": ["AC0"] * size,
        }
    )


def population_records(contig: ContigGenome, people: Population, config: DemoConfig) -> PopulationRecords:
    """gnomAD-like site records and phased records of one contig. AC in both is the count of the phased genotypes."""
    rng = generator(config.seed, "records", contig.name)
    free = free_positions(contig, people.alleles)
    odd = odd_records(contig, free, _ODD_KINDS, max(1, round(contig.codes.size / 4e5)), rng)
    carriers = np.zeros((odd.height, people.haplotypes.shape[1]), dtype=bool)
    carriers[np.arange(odd.height), rng.integers(0, carriers.shape[1], odd.height)] = True
    alleles = pl.concat([people.alleles.select("pos", "ref", "alt", extra=pl.lit(None, pl.String)), odd])
    order = np.argsort(alleles["pos"].to_numpy(), kind="stable")
    alleles, haplotypes = alleles[order], np.concatenate([people.haplotypes, carriers])[order]
    extended, record, rank = join_records(alleles)
    joined = extended.group_by("pos", maintain_order=True).agg(
        pl.col("ref").first(), pl.col("alt").str.join(","), pl.col("extra").first()
    )
    info = _counts_info(people, haplotypes, record)
    joined = joined.with_columns(info=pl.concat_str([info, joined["extra"]], separator=";", ignore_nulls=True))
    failed = pl.Series(rng.random(joined.height) < _RF_SHARE)
    sites = joined.with_columns(filter=pl.when(failed).then(pl.lit("RF")).otherwise(pl.lit("PASS")))
    columns = ["pos", "ref", "alt", "info", "filter"]
    used = pl.Series(odd["pos"])
    nobody = _no_carrier_sites(contig, people, free[~np.isin(free + 1, used.to_numpy())], rng)
    nobody = nobody.filter(~pl.col("pos").is_in(joined["pos"].implode()))
    phased = joined.with_columns(
        pl.col("info").str.replace_all(r";A[CNF]_[a-z]+=[^;]+", ""),
        genotypes=pl.Series(_genotypes(haplotypes, record, rank), dtype=pl.String),
        format=pl.lit("GT"),
    ).filter(~pl.col("alt").str.contains_any(["*", "N"]))
    return PopulationRecords(
        _finish(pl.concat([sites.select(columns), nobody.select(columns)]), contig.name), _finish(phased, contig.name)
    )


def clinvar_records(labelled: pl.DataFrame, contig: ContigGenome, first_id: int, config: DemoConfig) -> pl.DataFrame:
    """ClinVar-like records (CORE) of one contig, one too long and one with N among them; ids from `first_id`."""
    rng = generator(config.seed, "clinvar records", contig.name)
    odd = odd_records(contig, free_positions(contig, labelled), ("long", "ambiguous"), 1, rng)
    odd = odd.drop("extra").with_columns(
        clnsig=pl.lit("Uncertain_significance"),
        clnrevstat=pl.lit("no_assertion_criteria_provided"),
        mc=pl.lit(None, pl.String),
        geneinfo=pl.lit(None, pl.String),
    )
    rows = pl.concat([labelled.select(odd.columns), odd]).sort("pos", "ref", "alt")
    change = pl.col("alt").str.len_bytes().cast(pl.Int64) - pl.col("ref").str.len_bytes().cast(pl.Int64)
    kind = pl.when(change > 0).then(pl.lit("Insertion")).when(change < 0).then(pl.lit("Deletion"))
    number = pl.int_range(pl.len(), dtype=pl.Int64) + first_id
    info = pl.concat_str(
        pl.format("ALLELEID={}", number + 500_000),
        pl.format("CLNREVSTAT={}", pl.col("clnrevstat")),
        pl.format("CLNSIG={}", pl.col("clnsig")),
        pl.format("CLNVC={}", kind.otherwise(pl.lit("single_nucleotide_variant"))),
        pl.format("GENEINFO={}", pl.col("geneinfo")),
        pl.format("MC={}", pl.col("mc")),
        separator=";",
        ignore_nulls=True,
    )
    return _finish(rows.with_columns(id=number.cast(pl.String), info=info), contig.name, filter=".")


def _planted(
    effects: Effects, contig: ContigGenome, labelled: pl.DataFrame, size: int, rng: np.random.Generator
) -> pl.DataFrame:
    """Rare harmful SNVs for the person: half of them labelled P or LP in the ClinVar-like file, half in no file."""
    known = labelled.filter(
        pl.col("label").is_in(["P", "LP"])
        & (pl.col("harm") > 0.8)
        & (pl.col("ref").str.len_bytes() == 1)
        & (pl.col("alt").str.len_bytes() == 1)
    ).select("pos", "ref", "alt")
    known = known[np.sort(rng.choice(known.height, min(known.height, size - size // 2), replace=False))]
    real_change = (np.arange(4)[None, :] != contig.codes[:, None]) & (contig.codes != N)[:, None]
    sites, bases = np.nonzero(np.isin(effects.snv_term, (*TRUNCATING, *SPLICE)) & real_change)
    chosen = rng.choice(sites.size, min(sites.size, size // 2), replace=False)
    novel = pl.DataFrame(
        {
            "pos": sites[chosen] + 1,
            "ref": LETTERS[contig.codes[sites[chosen]]].view("S1").astype(str),
            "alt": LETTERS[bases[chosen]].view("S1").astype(str),
        }
    ).join(labelled, on=["pos", "ref", "alt"], how="anti")
    return pl.concat([known, novel])


def sample_records(
    contig: ContigGenome, effects: Effects, people: Population, labelled: pl.DataFrame, share: float, config: DemoConfig
) -> pl.DataFrame:
    """Records (CORE, format, genotypes) of one person on one contig: about `sample_records * share` of the person's
    variants, a handful of planted rare harmful SNVs, one record with two alternate alleles, and odd records."""
    rng = generator(config.seed, "sample", contig.name)
    carried = people.haplotypes[:, :2].sum(axis=1)
    mine = np.flatnonzero(carried)
    mine = np.sort(rng.choice(mine, min(mine.size, round(config.sample_records * share)), replace=False))
    genotype = pl.Series(np.where(carried[mine] == 2, "1/1", "0/1"))
    own = people.alleles[mine].select("pos", "ref", "alt", genotype=genotype)
    own = own.unique("pos", keep="first", maintain_order=True)
    free = free_positions(contig, people.alleles)
    odd = odd_records(contig, free, _ODD_KINDS, 1, rng).with_columns(genotype=pl.lit("0/1"))
    apart = (
        np.abs(free[:, None] + 1 - odd["pos"].to_numpy()[None, :]).min(axis=1, initial=_CLEARANCE_BP) >= _CLEARANCE_BP
    )
    two_at = int(rng.choice(free[apart]))
    base = int(contig.codes[two_at])
    two = pl.DataFrame(
        {
            "pos": [two_at + 1],
            "ref": [decode(contig.codes[two_at : two_at + 1])],
            "alt": [",".join(decode(np.array([(base + step) % 4], dtype=np.uint8)) for step in (1, 2))],
            "genotype": ["1/2"],
        }
    )
    harmful = _planted(effects, contig, labelled, _PLANTED, rng).with_columns(genotype=pl.lit("0/1"))
    columns = ["pos", "ref", "alt", "genotype"]
    rows = pl.concat([harmful, own, odd.select(columns), two]).unique("pos", keep="first", maintain_order=True)
    rows = rows.join(odd.select("pos", "extra"), on="pos", how="left", maintain_order="left").sort("pos")
    quality, depth = pl.Series(rng.integers(40, 100, rows.height)), pl.Series(rng.poisson(32, rows.height))
    return _finish(
        rows.with_columns(
            info=pl.col("extra").fill_null("."),
            format=pl.lit("GT:GQ:DP"),
            genotypes=pl.format("{}:{}:{}", pl.col("genotype"), quality, depth),
        ),
        contig.name,
    )
