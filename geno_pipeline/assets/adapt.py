"""Phase 2: an encoder with adapters that learnt from edits, and a profile that uses it (spec 4).

Concept: an adapted encoder is another encoder, so nothing of the storage that it was made in may be mixed with it. It
is made by the job `adapt_encoder` and used by a profile of its own, with its own `storage` and

    encoder: {folder: data/demo/adapted_encoder, steps: 140}

which makes states, checkpoint, evaluation and release anew with it.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict
from pathlib import Path

import dagster as dg
import polars as pl

from geno_model.encoder.folder import ATTENTION_FILE, EncoderFolderError, require_nothing_else
from geno_model.files import replacing_folder
from geno_pipeline.assets import GENOME, PROFILE, folder_asset, open_genome, tell
from geno_pipeline.assets.input_files import HASHES, version_of
from geno_pipeline.assets.states import ENCODER, read_contract
from geno_pipeline.pictures import line_picture
from geno_pipeline.storage import Storage


@folder_asset("model", version="2", settings=[PROFILE.adapt], deps=["checkpoint", ENCODER, "encoder_identity", *GENOME])
def adapted_encoder(
    context: dg.AssetExecutionContext, storage: Storage, training_edits: pl.DataFrame
) -> dg.MaterializeResult:
    """The encoder, adapted so that the effect of an edit is easier to predict: an encoder of its own, for other states.

    No run makes it but the job `adapt_encoder`. To use it, name its folder in a profile with another `storage`.
    """
    from geno_model.training.adapt import AdaptSettings, adapt  # here: peft takes seconds to load, for this alone

    given = PROFILE.adapt
    settings = AdaptSettings(
        n_steps=given.steps,
        batch_size=given.batch_size,
        seed_order=given.seed + 1,
        seed_lora=given.seed,
        learning_rate=given.learning_rate,
        predictor_learning_rate=given.predictor_learning_rate,
        rank=given.rank,
        alpha=given.alpha,
        n_last_layers=given.last_layers,
    )
    result = adapt(
        storage.path / ENCODER,
        read_contract(storage),
        storage.path / "checkpoint",
        open_genome(),
        training_edits,
        settings,
        storage.path / "adapted_encoder",
        tell(context, given.steps, "steps"),
    )
    for warning in result.warnings:
        context.log.warning(warning)
    steps, losses = [point["step"] for point in result.history], [point["jepa"] for point in result.history]
    return storage.folder_result(
        "adapted_encoder",
        {
            "encoder_hash": result.contract.encoder_hash,
            "parameters": result.n_parameters,
            "steps": given.steps,
            "seconds_per_step": round(result.seconds / given.steps, 2),
            **{f"{name}_before": value for name, value in asdict(result.before).items()},
            **{f"{name}_after": value for name, value in asdict(result.after).items()},
            "warnings": "; ".join(result.warnings) or "none",
            "loss": line_picture(steps, losses, "step", "JEPA loss / loss of no change"),
        },
    )


def encoder_files(folder: Path) -> dict[str, Path]:
    """What makes a folder an encoder, by path inside it; nothing of what an adaptation keeps beside it."""
    files = sorted(path for path in folder.glob("[!.]*") if path.is_file())
    return {str(path.relative_to(folder)): path for path in [*files, folder / ATTENTION_FILE] if path.is_file()}


if PROFILE.encoder.folder is not None:
    FILES = encoder_files(PROFILE.encoder.folder)

    # The content of the files is part of the code version: another encoder in the same folder makes this one stale.
    @folder_asset("encoder", version=version_of(FILES, PROFILE.storage / HASHES).value)
    def local_encoder(storage: Storage) -> dg.MaterializeResult:
        """The encoder that the profile names, copied here, so that what is made with it stays whole."""
        if not FILES or PROFILE.encoder.folder is None:
            raise EncoderFolderError(
                f"encoder.folder: found no files in {PROFILE.encoder.folder}, expected an encoder; correct the path, "
                "or make an adapted one there with the job adapt_encoder"
            )
        require_nothing_else(PROFILE.encoder.folder)  # before it is copied: the copy is named in no message
        with replacing_folder(storage.path / "local_encoder") as folder:
            for name, path in FILES.items():
                (folder / name).parent.mkdir(exist_ok=True)
                shutil.copyfile(path, folder / name)
        return storage.folder_result("local_encoder", {"from": dg.MetadataValue.path(str(PROFILE.encoder.folder))})
