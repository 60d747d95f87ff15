"""Where a file of population sites says how common an allele is (spec 3).

Belongs here: the spellings of frequencies and counts in INFO, and reading those that a file has.
Does not belong here: which alleles are kept, and what several files say together (`gnomad`).

Concept: a quantity (AF, AC, AN; overall or of one population) has several spellings. The names are looked up once a
file, case and `-` or `_` aside and whole, so AF_nfe_bgr, AF_afr_XX, AF_popmax and AF_exomes are never taken for a
population. Where a file has two spellings of a quantity, the second is read only for alleles that lack the first.
A joint file holds two data sets, exomes and genomes. A record of which one failed its filters is read as if the file
held the other alone, so the same quantities have spellings of their own there.

    file                       overall            population
    gnomAD v2, v3, v4          AF AC AN           AF_afr AF_AFR AF-afr AC_afr AN_afr; oth is `remaining`
    gnomAD v4.1 joint          AF_joint ...       AF_joint_afr ...
      FILTER EXOMES_FILTERED   AF_genomes ...     AF_genomes_afr ...
      FILTER GENOMES_FILTERED  AF_exomes ...      AF_exomes_afr ...
    1000 Genomes               AF AC AN           AFR_AF; EUR_AF, Europeans with Finns, is `nfe`
    dbSNP sites of Ensembl     AF, else AF_1kg_*  AF_afr, AF_1kg_afr; eur as above
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import polars as pl

from data_contracts.columns import POPULATIONS
from geno_model.genomics.vcf_reader import VcfChunk, contradicts, info_field

ALSO_NAMED = {"remaining": ["oth"], "nfe": ["eur"]}
OVERALL = ("{kind}", "{kind}_joint")
PART_OF_FILTER = {"EXOMES_FILTERED": "genomes", "GENOMES_FILTERED": "exomes"}
"""The data set of a joint file that passed, by the FILTER of the record."""
BOTH_FILTERED = ("BOTH_FILTERED", "EXOMES_FILTERED;GENOMES_FILTERED", "GENOMES_FILTERED;EXOMES_FILTERED")
OF_POPULATION = ("{kind}_{name}", "{kind}_joint_{name}", "{name}_{kind}", "{kind}_1kg_{name}")
# People in phase 3 of the 1000 Genomes: from the frequencies of its five parts follows that of the whole.
PANEL_1KG = {"afr": 661, "amr": 347, "eas": 504, "eur": 503, "sas": 489}
_RECORDS_READ = 1_000  # for fields that a header leaves out
COUNTS = tuple(f"{kind}{part}" for part in ("", *(f"_{name}" for name in POPULATIONS)) for kind in ("ac", "an"))


@dataclass(frozen=True)
class Fields:
    """Names in INFO that one file has.

    known: all of them, in the order of the header. spellings: those of each quantity (`af`, `an_afr`, ...), the one to
    prefer first; none where the file does not tell. part: data set of a joint file that they are of.

    Alleles are given as a frame: info (INFO of the allele's record) and place (0-based, in the record's ALT).
    """

    known: tuple[str, ...]
    spellings: dict[str, tuple[str, ...]]
    part: str | None = None

    @classmethod
    def of(cls, chunk: VcfChunk) -> Fields:
        """The fields that the header declares or the first records use; of a header without any, those of the chunk."""
        declared = [found[1] for line in chunk.header if (found := re.match(r"##INFO=<ID=([^,>]+)", line))]
        info = chunk.lines["info"].head(_RECORDS_READ if declared else chunk.lines.height)
        used = info.str.split(";").explode().str.extract("^ *([^= ]+)", 1).drop_nulls()
        known = [name for name in dict.fromkeys([*declared, *used.unique(maintain_order=True)]) if name != "."]
        spellings = _spellings_in(known, _all_spellings())
        for quantity in ("af", "ac", "an"):  # they may come later in a file that declares nothing
            spellings[quantity] = spellings[quantity] or (quantity.upper(),)
        return cls(tuple(known), spellings)

    def of_part(self, part: str) -> Fields:
        """The fields of one data set in a joint file."""
        return Fields(self.known, _spellings_in(self.known, _spellings_of_part(part)), part)

    def is_joint(self) -> bool:
        """Whether the file holds frequencies of exomes, of genomes and of both together."""
        sets = [self.of_part(part).spellings for part in PART_OF_FILTER.values()]
        names = {name.lower() for name in self.known}
        return not names.isdisjoint({"af_joint", "ac_joint"}) and all(known["af"] or known["ac"] for known in sets)

    def contradict(self, alleles: pl.DataFrame, quantities: Iterable[str]) -> pl.Series:
        """Whether the record of each allele gives a field of these quantities two values: neither can be believed."""
        return contradicts(alleles["info"], [field for name in quantities for field in self.spellings[name]])

    def frequency(self, alleles: pl.DataFrame, an_where_af_missing: int | None) -> pl.Series:
        """Overall frequency of each allele (f64), null where its record does not tell.

        The first of: AF; AC / AN; what the five parts of the 1000 Genomes give; AC / `an_where_af_missing`.
        """
        af = self._values("af", alleles)
        af = _fill(af, alleles, self._ratio)
        af = _fill(af, alleles, self._of_panel)
        if an_where_af_missing:
            af = _fill(af, alleles, lambda rest: self._values("ac", rest) / an_where_af_missing)
        return af.clip(upper_bound=1.0).alias("af")

    def details(self, *, counts: bool) -> list[pl.Expr]:
        """Columns `af_<population>` (f32) of alleles and, if asked for, COUNTS (i32)."""
        columns = [self._of_population(name).alias(f"af_{name}") for name in POPULATIONS]
        columns += [self._first(name).cast(pl.Int32, strict=False).alias(name) for name in COUNTS if counts]
        return columns

    def _of_population(self, name: str) -> pl.Expr:
        """AF, or in a file without it AC / AN."""
        has_af = self.spellings[f"af_{name}"] or not self.spellings[f"an_{name}"]
        ratio = self._first(f"ac_{name}") / self._first(f"an_{name}")  # 0 / 0 is NaN
        af = self._first(f"af_{name}") if has_af else ratio
        return af.fill_nan(None).clip(0.0, 1.0).cast(pl.Float32)

    def _first(self, quantity: str) -> pl.Expr:
        """A quantity of each allele (f64) in the first spelling that its record has."""
        return pl.coalesce(*(_number(field) for field in self.spellings[quantity]), pl.lit(None, dtype=pl.Float64))

    def _ratio(self, alleles: pl.DataFrame) -> pl.Series:
        """AC / AN."""
        ac, an = self._values("ac", alleles), self._values("an", alleles)
        return pl.select(pl.when(pl.lit(an) > 0).then(pl.lit(ac) / pl.lit(an))).to_series()

    def _of_panel(self, alleles: pl.DataFrame) -> pl.Series:
        """Frequency in the whole of the 1000 Genomes, from its five parts."""
        carried = pl.repeat(0.0, alleles.height, eager=True)
        for name, n_people in PANEL_1KG.items():
            carried += self._values(f"af_1kg_{name}", alleles) * n_people
        return carried / sum(PANEL_1KG.values())

    def _values(self, quantity: str, alleles: pl.DataFrame) -> pl.Series:
        """As `_first`, for many alleles: a spelling is read only for those that lack the ones before it."""
        values = pl.repeat(None, alleles.height, dtype=pl.Float64, eager=True)
        for field in self.spellings[quantity]:
            values = _fill(values, alleles, lambda rest, field=field: rest.select(_number(field)).to_series())
        return values


def _spellings_in(known: Iterable[str], names: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    """Those of the names that a file has, as it writes them."""
    by_plain = {name.lower().replace("-", "_"): name for name in reversed(list(known))}
    return {quantity: tuple(by_plain[name] for name in some if name in by_plain) for quantity, some in names.items()}


def _spellings_of_part(part: str) -> dict[str, list[str]]:
    """As `_all_spellings`, of one data set in a joint file."""
    spellings: dict[str, list[str]] = {name: [] for name in _all_spellings()}
    for kind in ("af", "ac", "an"):
        spellings[kind] = [f"{kind}_{part}"]
        spellings |= {f"{kind}_{population}": [f"{kind}_{part}_{population}"] for population in POPULATIONS}
    return spellings


def _all_spellings() -> dict[str, list[str]]:
    """Lower case, `_` names of each quantity, in the order of preference."""
    spellings = {f"af_1kg_{name}": [f"af_1kg_{name}"] for name in PANEL_1KG}
    for kind in ("af", "ac", "an"):
        spellings[kind] = [spelling.format(kind=kind) for spelling in OVERALL]
        for population in POPULATIONS:
            names = [population, *ALSO_NAMED.get(population, ())]
            spellings[f"{kind}_{population}"] = [
                spelling.format(kind=kind, name=name) for spelling in OF_POPULATION for name in names
            ]
    return spellings


def _fill(values: pl.Series, alleles: pl.DataFrame, way: Callable[[pl.DataFrame], pl.Series]) -> pl.Series:
    """The values, and where there is none what `way` finds for those alleles."""
    is_missing = values.is_null()
    if not is_missing.any():
        return values
    if is_missing.all():
        return way(alleles)
    return values.scatter(is_missing.arg_true(), way(alleles.filter(is_missing)))


def _number(field: str) -> pl.Expr:
    """Each allele's own value (f64) of a field; of one that has one value a record (AN) that value."""
    text = info_field("info", field).str.replace_all(" ", "", literal=True)
    values, place = text.str.split(","), pl.col("place")
    if field.upper().startswith("AN"):
        place = pl.when(values.list.len() > 1).then(place).otherwise(0)
    return values.list.get(place, null_on_oob=True).cast(pl.Float64, strict=False)
