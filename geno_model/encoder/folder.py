"""What a usable encoder folder holds, checked before a model is made of it (spec 2, "Weights" and "Identity").

Belongs here: the layout of the folder (that of the Hugging Face Hub), its vocabulary, its weights, its identity, and a
refusal of every folder that could be taken for something else. Does not: the model and its states (`carbon`).

What is read is what is hashed: the files below. Texts that no state depends on may lie beside them, and what an
adaptation keeps (`training.adapt`); anything else, an adapter or a second set of weights, is refused by name.

    config.json                    `model_type` llama; entries that name code or files (`auto_map`) are ignored
    model.safetensors              or model.safetensors.index.json and the shards that it names; no pickle is opened
    tokenizer.json                 Carbon's lists its text tokens only: the ids of its DNA tokens are fixed
    pooling/attention.safetensors  only with `attention` pooling
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from geno_model.encoder.pooling import BASES_PER_TOKEN, AttentionPooling
from geno_model.files import replacing_file
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import CARBON_DNA_OPEN, N_COMPACT

if TYPE_CHECKING:  # see `suffix`
    from transformers import LlamaConfig, LlamaForCausalLM

CARBON_VOCAB_SIZE = 155_776
ATTENTION_FILE = "pooling/attention.safetensors"
_CONTROL_TOKENS = ("<dna>", "</dna>", "<oov>")
_BASE_ORDER = "ATCG"
_MOST_PADDING = 256  # rows of the embedding that no token has; Carbon has 8
_COMPUTED = "rotary_emb.inv_freq"  # a buffer that older versions of transformers stored
_SINGLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_WEIGHT_TYPES = ("F32", "BF16", "F16")
_UNREAD = (  # may lie beside what is read; no state depends on it
    _INDEX, "generation_config.json", "special_tokens_map.json", "added_tokens.json", "vocab.json", "chat_template.*",
    "*.md", "*.txt", "LICENSE*", "NOTICE*", "SHA256SUMS", "source.json", "adaptation.json", "adapter", "model",
    "pooling", ".*",
)  # fmt: skip


class EncoderFolderError(InputError):
    """A folder that does not hold a usable encoder."""


def compact_vocabulary() -> dict[str, int]:
    """Token text -> compact id: the three control tokens, then the 4,096 six-mers in base 4, order A, T, C, G."""
    bases = np.array(list(_BASE_ORDER))
    digits = np.arange(4**BASES_PER_TOKEN)[:, None] // 4 ** np.arange(BASES_PER_TOKEN - 1, -1, -1) % 4
    sixmers = ["".join(row) for row in bases[digits]]
    return {token: index for index, token in enumerate([*_CONTROL_TOKENS, *sixmers])}


def save_encoder(model: LlamaForCausalLM, folder: Path) -> None:
    """Write a Llama with the compact DNA vocabulary as a Hugging Face folder (safetensors, config, tokenizer.json).

    Into `folder` itself: where a kill must not leave half of it, that is one of `files.replacing_folder`.
    Raises `EncoderFolderError` if an encoder is there already.
    """
    if (folder / "config.json").exists():
        raise EncoderFolderError(f"{folder} holds an encoder already, which is never overwritten; remove it first")
    model.save_pretrained(folder)
    tokenizer = {"version": "1.0", "model": {"type": "WordLevel", "unk_token": "<oov>", "vocab": compact_vocabulary()}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, indent=0))


def save_attention_pooling(pooling: AttentionPooling, folder: Path) -> None:
    """Write the weights of an attention pooling into an encoder folder, whole or not at all."""
    path = folder / ATTENTION_FILE
    with replacing_file(path) as temporary:
        save_file({"query": pooling.query.detach().float().contiguous()}, temporary)


def load_attention_pooling(folder: Path, d_state: int) -> AttentionPooling:
    """The attention pooling of an encoder folder.

    Raises `EncoderFolderError` where its weights are missing, cut off, or made for another hidden size.
    """
    path = folder / ATTENTION_FILE
    try:
        query = load_file(path)["query"]
    except (OSError, KeyError, SafetensorError) as error:
        raise EncoderFolderError(
            f"{path}: no weights of an attention pooling ({_one_line(error)}); write them with save_attention_pooling"
        ) from error
    if query.shape != (d_state,):
        raise EncoderFolderError(
            f"{path}: the query has the shape {tuple(query.shape)}, the encoder's hidden size is {d_state}; "
            "train the pooling on this encoder"
        )
    pooling = AttentionPooling(d_state)
    pooling.load_state_dict({"query": query.float()})
    return pooling


def encoder_hash(folder: Path, dtype: str, pooling: str = "centered_mean") -> str:
    """SHA-256 over (name, SHA-256) of weight shards, config and tokenizer files, and the dtype (spec 2, "Identity").

    With `attention` pooling the weights of the pooling are in it too; the poolings that have none share one hash.
    Raises `EncoderFolderError` where a file lies in the folder that is neither read nor a text.
    """
    require_nothing_else(folder)
    files = _read_files(folder)
    if pooling == "attention":
        files.append(folder / ATTENTION_FILE)
        if not files[-1].is_file():
            raise EncoderFolderError(
                f"{files[-1]}: not there, but the pooling is 'attention', whose weights it holds; "
                "write them with save_attention_pooling, or choose centered_mean"
            )
    total = hashlib.sha256()
    for path in files:
        with path.open("rb") as handle:
            total.update(f"{path.name}\0{hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    total.update(dtype.encode())
    return total.hexdigest()


def require_nothing_else(folder: Path) -> None:
    """Raise `EncoderFolderError` where a file lies in the folder that is neither read nor a text.

    Whoever put it there may expect states that it has a part in. Names that begin with a dot are not looked at.
    """
    read = {path.name for path in _read_files(folder)}
    others = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in read and not any(fnmatch(path.name, known) for known in _UNREAD)
    )
    if others:
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        raise EncoderFolderError(
            f"{folder}: {others[0]}{more} would have no part in the states nor in the encoder's hash; move it out of "
            f"the folder (an adapter has to be merged into {_SINGLE} first), or fetch the plain encoder again"
        )


def read_config(folder: Path) -> LlamaConfig:
    """The model's configuration; no weight is read.

    Raises `EncoderFolderError` where there is none, or one of another architecture.
    """
    from huggingface_hub.errors import StrictDataclassError
    from transformers import LlamaConfig

    path = folder / "config.json"
    if not path.is_file():
        raise EncoderFolderError(
            f"{folder}: no encoder there (config.json is missing); give the folder of a Llama DNA model"
        )
    values = _read_json(path)
    if values.get("model_type") != "llama":
        raise EncoderFolderError(
            f"{path}: model_type is {values.get('model_type')!r}, expected 'llama'; "
            "give the folder of Carbon or of another DNA model of that architecture"
        )
    if "quantization_config" in values:
        raise EncoderFolderError(f"{path}: the weights are quantised, expected plain ones; fetch the plain model")
    try:
        return LlamaConfig.from_dict(values)
    except (TypeError, ValueError, StrictDataclassError) as error:
        raise EncoderFolderError(
            f"{path}: no valid Llama configuration ({_one_line(error)}); fetch the encoder again"
        ) from error


def check_weights(folder: Path, config: LlamaConfig) -> None:
    """Compare the headers of the weight files with what `config` asks for, tensor by tensor.

    Missing tensors, unknown ones and other shapes are refused, and so are a missing or cut-off file and a folder that
    holds pickled weights only.
    """
    from transformers import LlamaForCausalLM

    found = _tensors(folder)
    with torch.device("meta"):
        expected = {name: tuple(value.shape) for name, value in LlamaForCausalLM(config).state_dict().items()}
    optional = {"lm_head.weight"} if config.tie_word_embeddings else set()
    if missing := sorted(expected.keys() - found.keys() - optional):
        raise EncoderFolderError(
            f"{folder}: {len(missing)} of {len(expected)} tensors of the model are in no weight file "
            f"(first: {missing[0]}); they would be random numbers. Fetch the encoder again"
        )
    unknown = sorted(name for name in found.keys() - expected.keys() if not name.endswith(_COMPUTED))
    if unknown:
        raise EncoderFolderError(
            f"{folder}: {len(unknown)} tensors belong to no Llama of this config.json (first: {unknown[0]}); "
            "weights and config are of different models, fetch the encoder again"
        )
    for name, (shape, number_type, file) in found.items():
        if shape != expected.get(name, shape):
            raise EncoderFolderError(
                f"{folder / file}: {name} has the shape {shape}, but config.json asks for {expected[name]}; "
                "weights and config are of different models, fetch the encoder again"
            )
        if number_type not in _WEIGHT_TYPES:
            raise EncoderFolderError(
                f"{folder / file}: {name} is stored as {number_type}, expected one of {', '.join(_WEIGHT_TYPES)}; "
                "fetch the plain model"
            )


def load_weights(folder: Path) -> dict[str, Tensor]:
    """Every tensor of the weight files, as stored. Raises `EncoderFolderError` as `check_weights` does."""
    weights: dict[str, Tensor] = {}
    for file in _weight_files(folder):
        weights |= load_file(folder / file)
    return {name: tensor for name, tensor in weights.items() if not name.endswith(_COMPUTED)}


def dna_offset(folder: Path, vocab_size: int) -> int:
    """Id of `<dna>` in the folder's vocabulary, after checking that the DNA tokens follow it in Carbon's order.

    vocab_size: rows of the model's embedding. A tokenizer that does not list all 4,099 DNA tokens passes only with
    Carbon's vocabulary, where AAAAAA is 151,672 and GGGGGG 155,767, and only if no other token has one of those ids.
    Raises `EncoderFolderError`.
    """
    path = folder / "tokenizer.json"
    listed = _listed_tokens(path)
    is_carbon = vocab_size == CARBON_VOCAB_SIZE
    offset = next((index for token, index in listed if token == "<dna>"), CARBON_DNA_OPEN if is_carbon else None)
    if offset is None:
        raise EncoderFolderError(
            f"{path}: no <dna> token, and the model's vocabulary is {vocab_size}, not Carbon's {CARBON_VOCAB_SIZE}"
        )
    if is_carbon and offset != CARBON_DNA_OPEN:
        raise EncoderFolderError(
            f"{path}: <dna> has the id {offset}, expected Carbon's {CARBON_DNA_OPEN} in a vocabulary of {vocab_size}; "
            "fetch the tokenizer of this very model"
        )
    by_id = {index: token for token, index in listed}
    wrong = [
        token
        for token, index in compact_vocabulary().items()
        if by_id.get(offset + index, token if is_carbon else None) != token
    ]
    if wrong:
        raise EncoderFolderError(
            f"{path}: {len(wrong)} DNA tokens are not where Carbon's order puts them (first: {wrong[0]})"
        )
    n_ids = max(max(by_id, default=0), offset + N_COMPACT - 1) + 1
    if not n_ids <= vocab_size <= n_ids + _MOST_PADDING:
        raise EncoderFolderError(
            f"{path}: the tokenizer has ids up to {n_ids - 1}, the model {vocab_size} rows of embeddings; "
            "they belong to different models, fetch the encoder again"
        )
    return offset


def _listed_tokens(path: Path) -> list[tuple[str, int]]:
    """(text, id) of every token that a tokenizer.json lists, the added ones too."""
    values = _read_json(path)
    try:
        listed = [(str(token), int(index)) for token, index in values["model"]["vocab"].items()]
        return listed + [(str(token["content"]), int(token["id"])) for token in values.get("added_tokens", [])]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EncoderFolderError(
            f"{path}: no readable Hugging Face tokenizer there ({error!r}); fetch the encoder again"
        ) from error


def _read_files(folder: Path) -> list[Path]:
    """The config, the weight files and the tokenizer files, sorted by name."""
    weights = _weight_files(folder)
    return [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and (path.name == "config.json" or path.name in weights or path.name.startswith("tokenizer"))
    ]


def _weight_files(folder: Path) -> dict[str, set[str]]:
    """Name of each weight file -> names of the tensors that an index promises there."""
    return {_SINGLE: set()} if (folder / _SINGLE).is_file() else _indexed_files(folder)


def _tensors(folder: Path) -> dict[str, tuple[tuple[int, ...], str, str]]:
    """Name -> (shape, number type, file) of all tensors, from the headers of the weight files."""
    files = _weight_files(folder)
    tensors: dict[str, tuple[tuple[int, ...], str, str]] = {}
    for file, promised in files.items():
        if not (folder / file).is_file():
            raise EncoderFolderError(
                f"{folder}: the weight file {file} is missing ({_INDEX} names {len(files)}); fetch the encoder again"
            )
        try:
            with safe_open(folder / file, framework="pt") as handle:
                slices = {name: handle.get_slice(name) for name in handle.keys()}
            found = {name: (tuple(one.get_shape()), one.get_dtype(), file) for name, one in slices.items()}
        except SafetensorError as error:
            raise EncoderFolderError(
                f"{folder / file}: no whole safetensors file ({_one_line(error)}); fetch the encoder again"
            ) from error
        if twice := sorted(found.keys() & tensors.keys()):
            raise EncoderFolderError(
                f"{folder / file}: {twice[0]} is in {tensors[twice[0]][2]}, too; fetch the encoder again"
            )
        tensors |= found
        if absent := sorted(promised - tensors.keys()):
            raise EncoderFolderError(
                f"{folder / file}: {absent[0]} is not in it, though {_INDEX} says so; fetch the encoder again"
            )
    return tensors


def _indexed_files(folder: Path) -> dict[str, set[str]]:
    """File -> names of its tensors, by the index of a model in several files."""
    index = folder / _INDEX
    if not index.is_file():
        pickles = sorted(path.name for path in folder.iterdir() if path.suffix in (".bin", ".pt", ".pth", ".ckpt"))
        also = f"; {pickles[0]} is a pickle, which can run any code and is never opened" if pickles else ""
        raise EncoderFolderError(
            f"{folder}: no weights there (neither {_SINGLE} nor {_INDEX}){also}; fetch the safetensors of this model"
        )
    files: dict[str, set[str]] = {}
    try:
        for name, file in _read_json(index)["weight_map"].items():
            if Path(file).name != file:
                raise ValueError(f"{file!r} is no name of a file in this folder")
            files.setdefault(file, set()).add(name)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise EncoderFolderError(f"{index}: no index of weights ({error!r}); fetch the encoder again") from error
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise EncoderFolderError(f"{path}: no readable JSON there ({error}); fetch the encoder again") from error
    if not isinstance(values, dict):
        raise EncoderFolderError(f"{path}: a {type(values).__name__}, expected a JSON object; fetch the encoder again")
    return values


def _one_line(error: BaseException) -> str:
    return " ".join((str(error) or repr(error)).split())
