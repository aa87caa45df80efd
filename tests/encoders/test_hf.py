"""Vision models of transformers as encoders: which output, which frames, and what is refused."""

from pathlib import Path
from typing import Any

import pytest
import torch

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.base import NetworkEncoder, UnreachableWeights
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from tests.helpers.small_vision_models import make_vision_model

VIDEO = VideoConfig(resize=54, size=48)
OF_VIDEO = ("videomae", "timesformer", "vivit", "vjepa2")
HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}


def opened(folder: Path | str, **settings: Any) -> NetworkEncoder:
    found = open_encoder(EncoderConfig(name=f"hf:{folder}", **settings), VIDEO)
    assert isinstance(found, NetworkEncoder)
    return found


def called(model: Any, frames: torch.Tensor) -> Any:
    model = getattr(model, "vision_model", model)
    with torch.inference_mode():
        return model(**{model.main_input_name: frames})


@pytest.mark.parametrize(
    ("kind", "outputs"),
    [
        ("clip", {"pooled": None, "class": 0, "patches": 1}),
        ("siglip-vision", {"pooled": None, "patches": 0}),
        ("dinov2", {"pooled": None, "class": 0, "patches": 1}),
        ("dinov2-registers", {"pooled": None, "class": 0, "patches": 4}),
        ("vit-classifier", {"patches": 1, "class": 0}),  # its files have no pooling layer
        ("videomae", {"patches": 0}),
        ("timesformer", {"patches": 1, "class": 0}),
        ("vivit", {"pooled": None, "class": 0, "patches": 1}),
        ("vjepa2", {"patches": 0}),
        ("hiera", {"pooled": None, "patches": 0}),
        ("convnext", {"pooled": None, "patches": 0}),
    ],
)
def test_each_output_is_that_of_the_model(tmp_path: Path, kind: str, outputs: dict[str, int | None]) -> None:
    model, shape = make_vision_model(kind, tmp_path / kind), (4, 3) if kind in OF_VIDEO else (3,)
    frames = torch.rand(2, *shape, 32, 32)
    found = called(getattr(model, "vit", model), frames)
    hidden = found.last_hidden_state
    hidden = hidden.flatten(2).mT if hidden.ndim == 4 else hidden  # the maps of a convolutional network
    for output, first in outputs.items():
        encoder = opened(tmp_path / kind, output=output)
        wanted = found.get("pooler_output") if first is None else hidden[:, first:].mean(1)
        wanted = hidden[:, 0] if output == "class" else wanted
        with torch.inference_mode():
            torch.testing.assert_close(encoder.backbone(frames), wanted)
        assert (encoder.dim, encoder.name, encoder.video.size) == (wanted.shape[1], f"hf:{kind}", 32)
        assert encoder.window == (4 if kind in OF_VIDEO else 1)
    assert opened(tmp_path / kind).options["output"] == next(iter(outputs))
    for output in {"pooled", "class", "patches"} - outputs.keys():
        with pytest.raises(InputError, match=rf"encoder\.output {output}: .*{kind} has no such output\. Use "):
            opened(tmp_path / kind, output=output)


def test_a_network_without_a_size_of_its_own_reads_frames_of_the_settings(tmp_path: Path) -> None:
    model = make_vision_model("resnet", tmp_path / "resnet")
    encoder, frames = opened(tmp_path / "resnet", output="patches"), torch.rand(2, 3, 48, 48)
    assert (encoder.video, encoder.dim) == (VIDEO, 16)
    with torch.inference_mode():
        torch.testing.assert_close(encoder.backbone(frames), called(model, frames).last_hidden_state.mean((2, 3)))


@pytest.mark.parametrize(
    ("processor", "size", "mean", "std"),
    [
        ({**HALF, "size": {"shortest_edge": 40}, "crop_size": {"height": 32, "width": 32}}, 32, 0.5, 0.5),
        ({**HALF, "size": {"height": 64, "width": 64}, "do_center_crop": False, "crop_size": 32}, 64, 0.5, 0.5),
        ({**HALF, "size": 64}, 64, 0.5, 0.5),
        ({**HALF, "do_normalize": False}, 32, 0.0, 1.0),
        ({**HALF, "rescale_factor": 1 / 127.5, "offset": True, "do_normalize": False}, 32, 0.5, 0.5),
    ],
)
def test_frames_are_normalized_as_the_image_processor_does(
    tmp_path: Path, processor: dict[str, Any], size: int, mean: float, std: float
) -> None:
    make_vision_model("dinov2", tmp_path / "model", **processor)
    video = opened(tmp_path / "model").video
    assert (video.size, video.resize) == (size, round(size * 54 / 48))
    assert (video.mean, video.std) == ((mean,) * 3, (std,) * 3)


def test_a_tower_and_the_model_that_it_is_from_are_one_encoder_wherever_they_lie(tmp_path: Path) -> None:
    whole = make_vision_model("clip", tmp_path / "clip")
    whole.vision_model.save_pretrained(tmp_path / "tower")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "clip").rename(tmp_path / "elsewhere" / "other")
    assert opened(tmp_path / "tower").sha256 == opened(tmp_path / "elsewhere" / "other").sha256
    make_vision_model("clip-vision", tmp_path / "tower", **HALF)
    assert opened(tmp_path / "tower").sha256 != opened(tmp_path / "elsewhere" / "other").sha256


def test_windows_of_a_clip_are_those_of_the_model(tmp_path: Path) -> None:
    model = make_vision_model("videomae", tmp_path / "videomae", **HALF)
    encoder = opened(tmp_path / "videomae", stride=3)
    frozen = FrozenEncoder(encoder, level="window", dtype="float32", device=torch.device("cpu"), batch_frames=9)
    clip = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    found = frozen(clip)
    images = clip / 127.5 - 1
    windows = torch.stack([images[:4], images[3:7], torch.cat([images[6:], images[-1:]])])
    torch.testing.assert_close(found, called(model, windows).last_hidden_state.mean(1), atol=1e-5, rtol=1e-4)
    assert opened(tmp_path / "videomae").stride == 2  # half a window


def test_the_licence_is_that_of_the_model_card(tmp_path: Path) -> None:
    make_vision_model("vit", tmp_path / "vit")
    assert "see the model card" in opened(tmp_path / "vit").licence
    (tmp_path / "vit" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# ViT")
    assert opened(tmp_path / "vit").licence == "apache-2.0"


@pytest.mark.parametrize(
    ("kind", "settings", "said"),
    [
        ("bert", {}, "BertModel reads no frames. Use a vision model"),
        ("vitmae", {}, "gives other features of the same frames each time"),
        ("siglip2-naflex", {}, r"^[^\n]*cannot read frames of 32 pixels \([^\n]*\)\. Use a model of images[^\n]*$"),
        ("vit", {"stride": 2}, r"encoder\.stride 2: .* reads single frames"),
        ("videomae", {"stride": 5}, r"encoder\.stride 5: .* reads windows of 4 frames"),
    ],
)
def test_what_is_no_encoder_is_refused(tmp_path: Path, kind: str, settings: dict[str, Any], said: str) -> None:
    make_vision_model(kind, tmp_path / kind)
    with pytest.raises(InputError, match=said):
        opened(tmp_path / kind, **settings)


def test_missing_weights_are_named_in_place_of_random_ones(tmp_path: Path) -> None:
    make_vision_model("vit", tmp_path / "vit")
    config = tmp_path / "vit" / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    with pytest.raises(InputError, match=r"hf:.*vit: its files lack weights \(.*layer.*2.*more\)"):
        opened(tmp_path / "vit")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    make_vision_model("vit", tmp_path / "vit")
    weights = tmp_path / "vit" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"encoder\.name hf:.*model\.safetensors: damaged or truncated"):
        opened(tmp_path / "vit")


def test_a_hub_name_without_network_says_which_files_to_fetch() -> None:
    with pytest.raises(UnreachableWeights) as error:
        opened("someone/clip-vit")
    for part in ("encoder.name hf:someone/clip-vit: ", "config.json", "model.safetensors", "preprocessor_config.json"):
        assert part in str(error.value)
    assert "hf download someone/clip-vit --local-dir FOLDER. Then set encoder.name=hf:FOLDER" in str(error.value)
