"""A command as an encoder: what identifies it, and what is refused."""

from pathlib import Path

import pytest

from slt_cache.config import AugmentationConfig, EncoderConfig, FeaturesConfig, VideoConfig
from slt_cache.encoders.base import NamedEncoder, UnreachableWeights
from slt_cache.encoders.command import CommandEncoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError


def program(folder: Path, content: str = "#!/bin/sh\n") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "tool"
    path.write_text(content)
    path.chmod(0o755)
    return path


def opened(words: str, video: VideoConfig | None = None) -> NamedEncoder:
    return open_encoder(EncoderConfig(name=f"command:{words}"), video or VideoConfig())


def test_content_of_program_and_files_and_the_other_arguments_identify_it(tmp_path: Path) -> None:
    tool, moved = program(tmp_path / "a"), program(tmp_path / "b c")
    for folder in (tool.parent, moved.parent):
        (folder / "weights.pt").write_bytes(b"weights")
    first = opened(f"{tool} --weights {tool.parent / 'weights.pt'} --size 224")
    same = opened(f"'{moved}' --weights '{moved.parent / 'weights.pt'}' --size 224")
    assert (first.name, first.sha256) == (same.name, same.sha256)
    assert first.name == "command:tool --weights weights.pt --size 224"
    others = [opened(f"{tool} --weights {tool.parent / 'weights.pt'} --size 225")]
    (tool.parent / "weights.pt").write_bytes(b"others!")
    others.append(opened(f"{tool} --weights {tool.parent / 'weights.pt'} --size 224"))
    program(tmp_path / "b c", "#!/bin/sh\nexit\n")
    others.append(opened(f"'{moved}' --weights '{moved.parent / 'weights.pt'}' --size 224"))
    assert len({first.sha256, *(one.sha256 for one in others)}) == 4


def test_settings_of_videos_do_not_count_as_the_program_reads_them_itself(tmp_path: Path) -> None:
    tool = program(tmp_path)
    one, other = (
        opened(str(tool), video).spec(FeaturesConfig(), AugmentationConfig())
        for video in (VideoConfig(), VideoConfig(keep_rate=1.0, fps=12.5, size=64, resize=64, fit="crop"))
    )
    assert one == other


def test_channels_are_compared_only_where_they_are_known(tmp_path: Path) -> None:
    unknown = opened(str(program(tmp_path)))
    assert isinstance(unknown, CommandEncoder)
    specs = {dim: unknown.of_dim(dim).spec(FeaturesConfig(), AugmentationConfig()) for dim in (0, 3, 4)}
    assert not specs[3].differences(specs[0]) and not specs[0].differences(specs[3])
    assert specs[3].differences(specs[4]) == ["dim: file 3, this run 4"]


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("not executable")
    for words in (tmp_path / "gone", tmp_path / "text"):
        with pytest.raises(UnreachableWeights, match=f"{words} is no program"):
            opened(str(words))
    with pytest.raises(InputError, match="no command line"):
        opened("tool 'unbalanced")
    with pytest.raises(InputError, match=r"video\.blank"):
        opened(str(program(tmp_path)), VideoConfig(blank=True))
