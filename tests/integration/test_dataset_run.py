"""A dataset made by the command line: what is made again after a change, and how bad input ends.

The files are those of a synthetic genome, handed in as a person's own: a profile with a `data` folder.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pysam
import pytest
import yaml

from geno_pipeline.config import PROFILES
from geno_pipeline.demo.config import DemoConfig
from geno_pipeline.demo.write import write_demo_inputs

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).parents[2]
CONTIGS = (("chr20", 120_000), ("chr21", 80_000), ("chr22", 100_000))
BY_CONTIG = ("clinvar_variants", "gnomad_variants", "phased_haplotypes", "reference_windows")


class Dataset:
    """A folder with inputs and a profile, in which the dataset is made."""

    def __init__(self, folder: Path) -> None:
        self.inputs, self.storage, self.profile = folder / "inputs", folder / "data", folder / "own.yaml"
        self.inputs.mkdir()
        write_demo_inputs(self.inputs, DemoConfig(seed=1, contigs=CONTIGS, n_samples=12))
        self.settings: dict[str, Any] = yaml.safe_load((PROFILES / "demo.yaml").read_text())
        self.settings.pop("demo")
        self.settings |= {"synthetic": False, "data": str(self.inputs), "storage": str(self.storage), "name": "own"}
        self.settings["contigs"] = ["chr20", "chr21"]
        self.settings["mix"]["edits_per_window"] = 3
        rows = {"singles_per_window": 1, "chains_per_k": 1, "haplotypes_per_k": 1, "clinvar_rows": 1}
        self.settings["validation"] |= rows

    def make(self) -> tuple[int, list[str], str]:
        """Run `build_dataset`: exit code, the assets that were made, and all that was said."""
        self.profile.write_text(yaml.safe_dump(self.settings))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("GENO_", "DAGSTER_"))}
        command = [sys.executable, "-m", "geno_pipeline", "run", "--profile", str(self.profile)]
        done = subprocess.run(
            [*command, "--job", "build_dataset"], cwd=REPOSITORY, env=environment, capture_output=True, text=True
        )
        assert "Traceback" not in done.stderr
        made = re.findall(r"^done +[\d.]+ s +(\w+)", done.stderr, flags=re.MULTILINE)
        return done.returncode, made, " ".join(done.stderr.split())

    def rewrite(self, name: str, change: Callable[[list[str]], list[str]]) -> None:
        """Change the lines of a VCF."""
        path = self.inputs / name
        with gzip.open(path, "rt") as file:
            lines = change(file.read().splitlines())
        plain = path.with_suffix("")
        plain.write_text("\n".join(lines) + "\n")
        pysam.tabix_compress(str(plain), str(path), force=True)
        plain.unlink()

    def hashes(self) -> dict[str, bytes]:
        """Content of the tables that are made contig by contig."""
        paths = [path for asset in BY_CONTIG for path in (self.storage / asset).glob("*.parquet")]
        return {f"{path.parent.name}/{path.stem}": path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The dataset of two contigs, made once."""
    made = Dataset(tmp_path_factory.mktemp("dataset"))
    code, assets, said = made.make()
    assert code == 0, said
    assert len(assets) == 16 and set(BY_CONTIG) < set(assets)
    return made


def dated(date: str, drop: int | None = None) -> Callable[[list[str]], list[str]]:
    """A ClinVar release of another date, without one of its records."""

    def change(lines: list[str]) -> list[str]:
        header = [re.sub(r"^##fileDate=.*", f"##fileDate={date}", line) for line in lines if line.startswith("#")]
        if not any(line.startswith("##fileDate") for line in header):
            header.insert(1, f"##fileDate={date}")
        records = [line for line in lines if not line.startswith("#")]
        return [*header, *(line for place, line in enumerate(records) if place != drop)]

    return change


# The tests below go on from one another, in this order, as the life of a dataset does.


def test_a_touched_file_makes_nothing_new(dataset: Dataset) -> None:
    for path in dataset.inputs.iterdir():
        path.touch()
    code, made, said = dataset.make()
    assert (code, made) == (0, []) and "nothing to make" in said


def test_a_newer_clinvar_makes_what_depends_on_it_and_nothing_else(dataset: Dataset) -> None:
    dataset.rewrite("clinvar.vcf.gz", dated("2031-05-01", drop=3))
    code, made, said = dataset.make()
    assert code == 0, said
    assert {"clinvar_variants", "variant_accounting", "edit_mix"} <= set(made)
    assert not {"gnomad_variants", "phased_haplotypes", "reference_windows", "reference_genome"} & set(made)


def test_an_older_clinvar_stops_there_and_the_old_tables_stay(dataset: Dataset) -> None:
    before = dataset.hashes()
    dataset.rewrite("clinvar.vcf.gz", dated("2030-01-31"))
    code, made, said = dataset.make()
    assert code == 1 and made == []
    assert "clinvar_variants: InputError" in said and "2030-01-31" in said and "2031-05-01" in said
    assert dataset.hashes() == before
    dataset.rewrite("clinvar.vcf.gz", dated("2031-05-01"))
    assert dataset.make()[0] == 0


def test_one_more_contig_is_made_alone(dataset: Dataset) -> None:
    before = dataset.hashes()
    dataset.settings["contigs"] = ["chr20", "chr21", "chr22"]
    code, made, said = dataset.make()
    assert code == 0, said
    after = dataset.hashes()
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {f"{asset}/chr22" for asset in BY_CONTIG}
    rows = pl.read_parquet(dataset.storage / "gnomad_variants" / "chr22.parquet").height
    assert f"gnomad_variants {rows:,} rows" in said  # and not those of the other contigs
    assert "reference_genome" not in made


def test_a_table_changed_by_hand_stops_what_reads_it(dataset: Dataset) -> None:
    path = dataset.storage / "gnomad_variants" / "chr20.parquet"
    sound = path.read_bytes()
    frame = pl.read_parquet(path)
    af = pl.when(pl.int_range(pl.len()) == 700).then(7.0).otherwise("af").cast(pl.Float32)
    frame.with_columns(af=af).write_parquet(path)
    dataset.settings["mix"]["edits_per_window"] = 4
    code, made, said = dataset.make()
    assert code == 1 and made == []
    assert "edit_mix: ContractViolationError: GnomadVariants" in said
    assert "column af, rule in_range(0, 1): 1 rows, first row 700 found 7.0" in said
    path.write_bytes(sound)
    code, made, _ = dataset.make()
    assert code == 0 and "edit_mix" in made and "gnomad_variants" not in made


def test_a_file_of_another_build_stops_at_its_asset(dataset: Dataset) -> None:
    def shift(lines: list[str]) -> list[str]:
        records = [line.split("\t") for line in lines if not line.startswith("#")]
        moved = ["\t".join([contig, str(int(pos) + 1_000), *rest]) for contig, pos, *rest in records]
        return [*(line for line in lines if line.startswith("#")), *moved]

    before, sound = dataset.hashes(), (dataset.inputs / "phased.vcf.gz").read_bytes()
    dataset.rewrite("phased.vcf.gz", shift)
    code, made, said = dataset.make()
    assert code == 1 and made == []
    assert "phased_haplotypes: WrongBuildError" in said and "of another genome build" in said
    assert dataset.hashes() == before
    (dataset.inputs / "phased.vcf.gz").write_bytes(sound)


def test_the_readmes_queries_run(dataset: Dataset) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    queries = re.findall(r"```sql\n(.*?)```", readme, flags=re.DOTALL)
    of_dataset = [query for query in queries if "training_states" not in query]  # which another test looks at
    assert len(of_dataset) >= 4
    for query in of_dataset:
        with duckdb.connect() as connection:
            assert connection.sql(query.replace("data/demo", str(dataset.storage))).pl().height > 0, query


def test_a_corpus_is_one_more_contig_to_train_on(dataset: Dataset) -> None:
    before = dataset.hashes()
    with gzip.open(dataset.inputs / "reference.fa.gz", "rt") as file:
        held_out = file.read().split(">chr21")[1].split(">")[0].partition("\n")[2]
    bases = np.frombuffer(b"ACGT", dtype=np.uint8)[np.random.default_rng(3).integers(4, size=40_000)]
    text = f">one\n{bases.tobytes().decode()}\n>held out\n{held_out}\n"
    (dataset.inputs / "corpus.fa").write_text(text)
    dataset.settings["inputs"]["corpus"] = "corpus.fa"
    dataset.settings["contigs"] = ["chr20", "chr21", "chr22", "corpus"]
    code, made, said = dataset.make()
    assert code == 0, said
    windows = pl.read_parquet(dataset.storage / "reference_windows" / "corpus.parquet")
    assert windows["start_bp"].to_list() == [0, 12_288, 24_576]  # of the held-out contig none
    rows = pl.read_parquet(dataset.storage / "training_edits" / "corpus.parquet")
    assert rows.height > 0 and set(rows["source"]) <= {"synthetic_snv", "synthetic_indel"}
    assert {name: table for name, table in dataset.hashes().items() if name in before} == before


def test_rows_are_the_same_in_a_process_of_their_own_and_one_contig_at_a_time(dataset: Dataset) -> None:
    dataset.settings["executor"] = "multiprocess"
    assert dataset.make()[0] == 0
    path = dataset.storage / "training_edits" / "chr22.parquet"
    before = path.read_bytes()
    path.unlink()
    runs = {"GENO_RUNS": str(dataset.storage / "dagster"), "DAGSTER_HOME": str(REPOSITORY / "dagster_home")}
    command = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "geno_pipeline.definitions"]
    done = subprocess.run(
        [*command, "--select", "training_edits", "--partition", "chr22"],
        cwd=REPOSITORY,
        env=os.environ | runs | {"GENO_PROFILE": str(dataset.profile)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    assert path.read_bytes() == before
