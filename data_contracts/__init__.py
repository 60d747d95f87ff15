"""One contract a table: names, types, units and rules of its columns.

Belongs here: what a table means, and checking a frame against it (`checking.validate`).
Does not belong here: making a table, reading or writing one, and any import of ours.

A table's module is called as its asset, its class as the asset in capitals: `gnomad_variants.GnomadVariants`.
"""

from data_contracts.ablations import Ablations
from data_contracts.benchmark_alleles import BenchmarkAlleles
from data_contracts.brca_scores import BrcaScores
from data_contracts.calibration import Calibration
from data_contracts.calibration_scores import CalibrationScores
from data_contracts.checking import ContractViolationError, validate
from data_contracts.clinvar_scores import ClinvarScores
from data_contracts.clinvar_variants import ClinvarVariants
from data_contracts.edit_mix import EditMix
from data_contracts.efficiency import Efficiency
from data_contracts.gene_annotation import GeneAnnotation
from data_contracts.gnomad_variants import GnomadVariants
from data_contracts.holdout_chr import HoldoutChr
from data_contracts.holdout_clinvar import HoldoutClinvar
from data_contracts.holdout_haplotypes import HoldoutHaplotypes
from data_contracts.holdout_regions import HoldoutRegions
from data_contracts.mix_report import MixReport
from data_contracts.phased_haplotypes import PhasedHaplotypes
from data_contracts.reference_windows import ReferenceWindows
from data_contracts.repeat_annotation import RepeatAnnotation
from data_contracts.rollout_fidelity import RolloutFidelity
from data_contracts.scores import Scores
from data_contracts.training_edits import TrainingEdits
from data_contracts.traitgym_scores import TraitgymScores
from data_contracts.validation_edits import ValidationEdits
from data_contracts.variant_accounting import VariantAccounting
from data_contracts.zero_shot_scores import ZeroShotScores

__all__ = [
    "Ablations",
    "BenchmarkAlleles",
    "BrcaScores",
    "Calibration",
    "CalibrationScores",
    "ClinvarScores",
    "ClinvarVariants",
    "ContractViolationError",
    "EditMix",
    "Efficiency",
    "GeneAnnotation",
    "GnomadVariants",
    "HoldoutChr",
    "HoldoutClinvar",
    "HoldoutHaplotypes",
    "HoldoutRegions",
    "MixReport",
    "PhasedHaplotypes",
    "ReferenceWindows",
    "RepeatAnnotation",
    "RolloutFidelity",
    "Scores",
    "TrainingEdits",
    "TraitgymScores",
    "ValidationEdits",
    "VariantAccounting",
    "ZeroShotScores",
    "validate",
]
