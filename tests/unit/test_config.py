"""Profiles: the bundled ones load, and a bad one says in one line what is wrong with which field."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from geno_pipeline.config import PROFILES, ProfileError, digest, load_profile


def changed(tmp_path: Path, **sections: object) -> Path:
    """A copy of the demo profile with some values replaced; a mapping is merged into its section."""
    raw = yaml.safe_load((PROFILES / "demo.yaml").read_text())
    for section, value in sections.items():
        raw[section] = {**raw[section], **value} if isinstance(value, dict) else value
    path = tmp_path / "changed.yaml"
    path.write_text(yaml.safe_dump(raw))
    return path


def test_demo_profile_makes_its_own_inputs() -> None:
    profile = load_profile("demo")
    assert profile.synthetic
    assert profile.input_path(profile.inputs.reference) == Path("data/demo/demo_inputs/reference.fa.gz")
    assert profile.mix.shares == {"gnomad": 0.4, "synthetic_snv": 0.3, "synthetic_indel": 0.2, "clinvar": 0.1}


def test_real_profile_reads_the_data_folder_that_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GENO_DATA", raising=False)
    assert load_profile("real").data_folder == Path("../shared/data/grch37")
    monkeypatch.setenv("GENO_DATA", "/from/environment")
    assert load_profile("real").data_folder == Path("/from/environment")
    profile = load_profile("real", data=Path("/from/option"))
    assert profile.input_path(profile.inputs.clinvar) == Path("/from/option/clinvar.vcf.gz")
    assert profile.holdouts.spans == (("1", 8_500_000, 9_876_492),)
    assert profile.inputs.genes is None


def test_absolute_input_path_stays(tmp_path: Path) -> None:
    profile = load_profile(changed(tmp_path, inputs={"reference": "/genomes/hs37d5.fa.gz"}))
    assert profile.input_path(profile.inputs.reference) == Path("/genomes/hs37d5.fa.gz")


def test_environment_data_does_not_reach_a_synthetic_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENO_DATA", "/from/environment")
    assert load_profile("demo").data is None
    with pytest.raises(ProfileError, match="expected none: a synthetic profile makes its own inputs"):
        load_profile("demo", data=Path("/from/option"))


@pytest.mark.parametrize(
    ("sections", "line"),
    [
        ({"windows": {"stride_bp": "far"}}, r"windows\.stride_bp: found 'far', expected a valid integer"),
        ({"windows": {"stride": 4096}}, r"windows\.stride: found a setting of that name, expected none"),
        ({"windows": {"window_bp": 100}}, r"windows\.window_bp: found 100, expected a multiple of 6"),
        ({"mix": {"gnomad_share": 0.5}}, r"mix: expected four shares that add up to 1, not to 1\.1"),
        ({"holdouts": {"spans": [["chr20", 9, 9]]}}, r"holdouts: expected a span with 0 <= start_bp < end_bp"),
        ({"holdouts": {"contigs": ["chrX"]}}, r"profile: expected holdouts on contigs of the profile, not on chrX"),
        ({"state": {"layer": -9}}, r"state\.layer: found -9, expected -4, -3, -2 or -1"),
        ({"model": 3}, r"model: found 3, expected a valid dictionary"),
        ({"contigs": []}, r"contigs: found "),
        ({"data": "elsewhere"}, r"profile: expected a `data` folder if, and only if, `synthetic` is false"),
        ({"contigs": ["chr20", "chr21"]}, r"profile: expected the same names in `contigs` and in `demo\.contigs`"),
    ],
)
def test_bad_field_gives_one_line(tmp_path: Path, sections: dict[str, object], line: str) -> None:
    path = changed(tmp_path, **sections)
    with pytest.raises(ProfileError, match=f"^{path}: {line}") as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)


def test_several_faults_are_counted(tmp_path: Path) -> None:
    with pytest.raises(ProfileError, match=r"windows\.window_bp.*\(and 1 more\)$"):
        load_profile(changed(tmp_path, windows={"window_bp": "a", "stride_bp": "b"}))


def test_missing_section_and_bad_files(tmp_path: Path) -> None:
    path = tmp_path / "short.yaml"
    path.write_text("name: short\n")
    with pytest.raises(ProfileError, match="synthetic: found nothing, expected a value"):
        load_profile(path)
    path.write_text("name: [")
    with pytest.raises(ProfileError, match="found text that is not YAML") as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)
    path.write_text("- a\n- b\n")
    with pytest.raises(ProfileError, match="expected a mapping of settings"):
        load_profile(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        load_profile(tmp_path / "absent.yaml")
    with pytest.raises(ProfileError, match="found 'chr99', expected one of chr21, demo, real"):
        load_profile("chr99")


def test_profile_is_frozen_and_its_digest_follows_every_setting(tmp_path: Path) -> None:
    demo, other = load_profile("demo"), load_profile(changed(tmp_path, windows={"stride_bp": 4096}))
    with pytest.raises(ValueError, match="frozen"):
        demo.windows.stride_bp = 4096  # type: ignore[misc]
    assert demo.digest == load_profile("demo").digest != other.digest
    assert digest(demo.windows, demo.seed) != digest(other.windows, demo.seed)
    assert digest(demo.mix) == digest(other.mix)
