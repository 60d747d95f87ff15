"""The synthetic demo genome: reference, genes, repeats, population, ClinVar-like labels and one person's VCF.

Belongs here: making inputs that look like the public files and hold a signal worth learning. All of it is synthetic and
says so. Does not belong here: anything that reads these files; from the files on, the demo takes the path of real data.
"""

from __future__ import annotations

from geno_pipeline.demo.config import DemoConfig, DemoConfigError
from geno_pipeline.demo.write import DemoInputs, write_demo_inputs

__all__ = ["DemoConfig", "DemoConfigError", "DemoInputs", "write_demo_inputs"]
