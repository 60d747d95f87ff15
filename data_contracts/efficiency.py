"""What scoring costs on the machine of the run (spec 6, efficiency)."""

from __future__ import annotations

import pandera.polars as pa

from data_contracts import columns

COLD, WARM, BATCH = "one variant, cold", "one variant, warm", "batch"


class Efficiency(columns.Table):
    """One row a measurement, in processes that do nothing else."""

    what: str = pa.Field(isin=[COLD, WARM, BATCH], description="cold: from the start of Python; the others: loaded")
    n_variants: int = pa.Field(ge=1, description="variants scored in one call, neighbours along the genome")
    n_repeats: int = pa.Field(ge=1, description="calls, of cold ones processes")
    median_s: float = pa.Field(gt=0, description="median time of a call, seconds")
    low_s: float = pa.Field(gt=0, description="shortest call, seconds")
    high_s: float = pa.Field(gt=0, description="longest call, seconds")
    variants_per_s: float = pa.Field(gt=0, description="variants over the median time")
    tokens_per_variant: float = pa.Field(gt=0, description="tokens (six bases) that the encoder ran, by variant")
    peak_memory_mib: float = pa.Field(gt=0, description="most resident memory of the process until then, MiB")
    n_threads: int = pa.Field(ge=1, description="threads")
