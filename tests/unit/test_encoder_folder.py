"""Which folders are an encoder, in the Hub's layout and in ours, and how all others are refused (spec 2, "Weights")."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import LlamaForCausalLM

from geno_model.encoder.carbon import CarbonStateEncoder, EncoderFolderError, EncoderSettingsError
from geno_model.encoder.folder import CARBON_VOCAB_SIZE, compact_vocabulary, dna_offset, encoder_hash
from geno_model.genomics.errors import InputError
from geno_model.genomics.tokens import CARBON_DNA_OPEN
from tests.unit.encoders import hub_config, random_window, settings, tiny_encoder, write_hub_folder

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sound folder of ours, to be broken."""
    tiny_encoder(tmp_path / "tiny")
    return tmp_path / "tiny"


def change_json(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})


def refusal(folder: Path, **changes: Any) -> str:
    with pytest.raises(EncoderFolderError) as error:
        CarbonStateEncoder.load(folder, settings(**changes))
    assert isinstance(error.value, InputError) and "\n" not in str(error.value) and str(folder) in str(error.value)
    return str(error.value)


def test_carbons_own_layout_is_read_from_one_file_and_from_several(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "one", hub_config())
    write_hub_folder(tmp_path / "three", hub_config(), n_files=3)
    one, three = (CarbonStateEncoder.load(tmp_path / name, settings()) for name in ("one", "three"))
    assert one.dna_offset == CARBON_DNA_OPEN and one.d_state == 16 and one.sixmer_embeddings().shape == (4_099, 16)
    assert one.model.dtype == torch.float32 and one.model.config.rope_parameters == {
        "rope_theta": 500_000,
        "rope_type": "default",
    }
    window = random_window(0)
    assert torch.equal(one.encode(window, 600), three.encode(window, 600))
    assert one.encoder_hash != three.encoder_hash  # other files, so another identity, though the states are the same


def test_carbon_ids_are_those_of_the_conformance_facts(tmp_path: Path) -> None:
    """Trap 5: the ids are ours, from no remote tokenizer; a text token that reads AAAAAA is no six-mer."""
    write_hub_folder(tmp_path / "hub", hub_config())
    offset = dna_offset(tmp_path / "hub", CARBON_VOCAB_SIZE)
    ids = {token: offset + index for token, index in compact_vocabulary().items()}
    assert (ids["<dna>"], ids["AAAAAA"], ids["ATCGAT"], ids["GGGGGG"]) == (151_669, 151_672, 152_105, 155_767)


@pytest.mark.parametrize(
    ("added", "message"),
    [
        ([("<dna>", 151_670)], r"<dna> has the id 151670, expected Carbon's 151669"),
        ([("AAAAAT", 151_672)], r"1 DNA tokens are not where Carbon's order puts them \(first: AAAAAA\)"),
        ([("<extra>", 155_780)], r"ids up to 155780, the model 155776 rows"),
    ],
)
def test_a_tokenizer_that_disagrees_with_carbons_ids_is_refused(
    tmp_path: Path, added: list[tuple[str, int]], message: str
) -> None:
    write_hub_folder(tmp_path / "hub", hub_config())
    change_json(tmp_path / "hub" / "tokenizer.json", added_tokens=[{"content": t, "id": i} for t, i in added])
    with pytest.raises(EncoderFolderError, match=message):
        CarbonStateEncoder.load(tmp_path / "hub", settings())


def test_control_tokens_among_the_added_ones_are_accepted_where_carbon_has_them(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "hub", hub_config())
    added = [{"content": token, "id": 151_669 + i} for i, token in enumerate(["<dna>", "</dna>", "<oov>"])]
    change_json(tmp_path / "hub" / "tokenizer.json", added_tokens=added)
    assert dna_offset(tmp_path / "hub", CARBON_VOCAB_SIZE) == CARBON_DNA_OPEN


def test_text_tokens_alone_need_carbons_vocabulary_size(tmp_path: Path) -> None:
    write_hub_folder(tmp_path / "hub", hub_config(vocab_size=4_107))
    assert "vocabulary is 4107, not Carbon's 155776" in refusal(tmp_path / "hub")


@pytest.mark.parametrize("vocab_size", [4_000, 9_000])
def test_another_vocabulary_size_than_the_tokenizers_is_refused(tmp_path: Path, folder: Path, vocab_size: int) -> None:
    write_hub_folder(tmp_path / "other", hub_config(vocab_size=vocab_size))
    (tmp_path / "other" / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    assert f"ids up to 4098, the model {vocab_size} rows" in refusal(tmp_path / "other")


def test_six_mers_in_another_order_are_refused(folder: Path) -> None:
    vocabulary = compact_vocabulary()
    vocabulary["AAAAAA"], vocabulary["AAAAAT"] = vocabulary["AAAAAT"], vocabulary["AAAAAA"]
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": vocabulary}}))
    assert "2 DNA tokens are not where" in refusal(folder)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"model": {"vocab": ["AAAAAA"]}}', '{"model": {"vocab": {"A": "B"}}}']
)
def test_a_broken_tokenizer_is_refused(folder: Path, text: str) -> None:
    (folder / "tokenizer.json").write_text(text)
    assert "tokenizer.json" in refusal(folder)


def test_a_missing_tokenizer_is_refused(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    assert "no readable JSON there" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "qwen3"}, "model_type is 'qwen3', expected 'llama'"),
        ({"model_type": None}, "model_type is None, expected 'llama'"),
        ({"quantization_config": {"load_in_4bit": True}}, "the weights are quantised"),
        ({"hidden_size": 30}, "no valid Llama configuration"),
        ({"hidden_size": 64}, "has the shape (4107, 32), but config.json asks for (4107, 64)"),
        ({"num_hidden_layers": 3}, "9 of 30 tensors of the model are in no weight file (first: model.layers.2."),
        ({"num_hidden_layers": 1}, "9 tensors belong to no Llama of this config.json (first: model.layers.1."),
        ({"tie_word_embeddings": False}, "1 of 21 tensors of the model are in no weight file (first: lm_head.weight)"),
    ],
)
def test_a_config_of_another_model_is_refused(folder: Path, changes: dict[str, Any], message: str) -> None:
    change_json(folder / "config.json", **changes)
    assert message in refusal(folder)


@pytest.mark.parametrize("text", ["", "{", "[1]"])
def test_a_broken_config_is_refused(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    assert "config.json" in refusal(folder)


def test_a_folder_without_a_config_is_refused(tmp_path: Path) -> None:
    assert "config.json is missing); give the folder of a Llama DNA model" in refusal(tmp_path)


def test_weights_are_never_made_up(folder: Path) -> None:
    """A loader would fill the missing tensor with random numbers and say so in a warning at most."""
    change_weights(folder, lambda tensors: tensors.pop("model.layers.1.mlp.up_proj.weight"))
    assert "first: model.layers.1.mlp.up_proj.weight); they would be random numbers" in refusal(folder)


def test_weights_that_the_model_would_not_use_are_refused(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"model.layers.0.self_attn.q_proj.bias": torch.zeros(32)}))
    assert "first: model.layers.0.self_attn.q_proj.bias" in refusal(folder)


def test_weights_of_another_number_type_are_refused(folder: Path) -> None:
    change_weights(folder, lambda tensors: tensors.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}))
    assert "model.norm.weight is stored as I8, expected one of F32, BF16, F16" in refusal(folder)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_cut_off_weights_are_refused(folder: Path, share: float) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[: int(share * len(content))])
    assert "no whole safetensors file" in refusal(folder)


def test_shards_that_the_index_names_must_be_there_and_hold_what_it_says(tmp_path: Path) -> None:
    hub = tmp_path / "hub"
    write_hub_folder(hub, hub_config(), n_files=2)
    index = hub / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text())["weight_map"]
    moved = weight_map | {"model.norm.weight": "model-00001-of-00002.safetensors"}
    assert moved != weight_map
    change_json(index, weight_map=moved)
    assert "model-00001-of-00002.safetensors: model.norm.weight is not in it" in refusal(hub)
    change_json(index, weight_map=weight_map)
    (hub / "model-00002-of-00002.safetensors").unlink()
    assert "the weight file model-00002-of-00002.safetensors is missing" in refusal(hub)
    change_json(index, weight_map=weight_map | {"model.norm.weight": "../elsewhere.safetensors"})
    assert "'../elsewhere.safetensors' is no name of a file in this folder" in refusal(hub)
    index.unlink()
    assert "no weights there (neither model.safetensors nor model.safetensors.index.json)" in refusal(hub)


def test_pickled_weights_are_never_opened(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")
    assert "pytorch_model.bin is a pickle, which can run any code and is never opened" in refusal(folder)


def test_code_in_the_folder_is_never_imported(tmp_path: Path) -> None:
    """Trap 5: a config that asks for remote code loads as the plain Llama that it is; code beside it is refused."""
    hub = tmp_path / "hub"
    code = {"AutoConfig": "planted.Config", "AutoModelForCausalLM": "planted.Model", "AutoTokenizer": "planted.Tok"}
    write_hub_folder(hub, hub_config(auto_map=code, architectures=["CarbonFnsForCausalLM"]))
    (hub / "tokenizer_config.json").write_text(json.dumps({"auto_map": {"AutoTokenizer": ["planted.Tok", None]}}))
    encoder = CarbonStateEncoder.load(hub, settings())
    assert type(encoder.model).__module__ == "transformers.models.llama.modeling_llama"
    for name in ("planted.py", "modeling_llama.py", "__init__.py"):
        (hub / name).write_text(f"from pathlib import Path\nPath({str(tmp_path / 'ran')!r}).touch()\n")
    assert "__init__.py and 2 more would have no part in the states" in refusal(hub)
    assert not (tmp_path / "ran").exists()
    assert not [name for name, module in sys.modules.items() if str(hub) in str(getattr(module, "__file__", ""))]


def write_adapter(folder: Path) -> None:
    """An adapter in peft's own files, with random weights, beside the encoder's."""
    adapted = get_peft_model(LlamaForCausalLM.from_pretrained(folder), LoraConfig(r=2, init_lora_weights=False))
    adapted.save_pretrained(str(folder))


def test_an_adapter_beside_the_weights_is_refused(folder: Path) -> None:
    """transformers loads it with the weights where peft is installed; the hash was the same whatever it held."""
    write_adapter(folder)
    assert "adapter_config.json and 1 more would have no part in the states" in refusal(folder)
    with pytest.raises(EncoderFolderError, match=r"adapter_config\.json and 1 more"):
        encoder_hash(folder, "float32")
    (folder / "adapter_config.json").unlink()
    assert "adapter_model.safetensors would have no part" in refusal(folder)


@pytest.mark.parametrize(
    "name",
    ["model-00001-of-00002.safetensors", "pytorch_model.bin", "model.safetensors.bak", "weights.gguf", "tokenizer"],
)
def test_what_is_neither_read_nor_a_text_is_refused(folder: Path, name: str) -> None:
    (folder / name).mkdir() if name == "tokenizer" else (folder / name).write_bytes(b"something")
    assert f"{name} would have no part in the states nor in the encoder's hash; move it out" in refusal(folder)


def test_only_what_is_hashed_has_a_part_in_a_state(folder: Path, tmp_path: Path) -> None:
    """Texts, an adaptation's own folders and a config that names other files change neither hash nor state."""
    window = random_window(0)
    plain = CarbonStateEncoder.load(folder, settings())
    write_adapter(folder)
    (folder / "adapter").mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).rename(folder / "adapter" / name)
    (folder / "generation_config.json").write_text("no JSON at all")
    for name in ("LICENSE", "README.md", "adaptation.json", ".gitattributes", "model.safetensors.index.json"):
        (folder / name).write_text("{")
    beside = CarbonStateEncoder.load(folder, settings())
    assert beside.encoder_hash == plain.encoder_hash
    assert torch.equal(beside.encode(window, 600), plain.encode(window, 600))
    other = tiny_encoder(tmp_path / "other", seed=1)
    (tmp_path / "other" / WEIGHTS).rename(folder / "adapter" / "other.safetensors")
    change_json(folder / "config.json", transformers_weights="adapter/other.safetensors")
    renamed = CarbonStateEncoder.load(folder, settings())
    assert torch.equal(renamed.encode(window, 600), plain.encode(window, 600))
    assert not torch.equal(other.encode(window, 600), plain.encode(window, 600))


def test_links_are_followed_by_hash_and_weights_alike(folder: Path, tmp_path: Path) -> None:
    """As in the cache of the hub, where every file of a snapshot is a link."""
    linked = tmp_path / "linked"
    linked.mkdir()
    for path in folder.iterdir():
        (linked / path.name).symlink_to(path)
    plain, through_links = (CarbonStateEncoder.load(place, settings()) for place in (folder, linked))
    assert through_links.encoder_hash == plain.encoder_hash
    change_weights(folder, lambda tensors: tensors["model.norm.weight"].mul_(2))
    assert CarbonStateEncoder.load(linked, settings()).encoder_hash != plain.encoder_hash
    (folder / WEIGHTS).unlink()
    assert "no weights there" in refusal(linked)


def test_a_tensor_in_two_files_is_refused(tmp_path: Path) -> None:
    """Which of the two counts would be the loader's choice."""
    hub, first, second = tmp_path / "hub", "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
    write_hub_folder(hub, hub_config(), n_files=2)
    tensors = load_file(hub / second)
    name = next(iter(load_file(hub / first)))
    save_file(tensors | {name: torch.zeros(1)}, hub / second, metadata={"format": "pt"})
    assert f"{name} is in " in refusal(hub)


def test_settings_that_the_model_cannot_follow_are_refused(folder: Path) -> None:
    with pytest.raises(EncoderSettingsError, match=r"layer is -3, but the model has 2 layers"):
        CarbonStateEncoder.load(folder, settings(layer=-3))
    with pytest.raises(EncoderSettingsError, match=r"60,000 bp is 10,002 tokens, the model reads at most 8,192"):
        CarbonStateEncoder.load(folder, settings(window_bp=60_000))
