"""Visual encoder of a run: that of stage 1, or a named one (`encoder.name`), checked against the requested features,
and frozen. All that reads videos for stage 2 gets its encoder here."""

from dataclasses import replace
from pathlib import Path

import torch

from slt_cache.advice import CONFIG_FILE, command
from slt_cache.checkpoints.visual import load_visual
from slt_cache.config import AugmentationConfig, check_config
from slt_cache.device import pick_device
from slt_cache.encoders.base import Encoder, Frozen
from slt_cache.encoders.command import CommandEncoder
from slt_cache.encoders.frozen import FrozenEncoder
from slt_cache.encoders.names import BUILT_IN, is_same_name
from slt_cache.encoders.pose import PoseEncoder
from slt_cache.encoders.registry import open_encoder
from slt_cache.errors import InputError
from slt_cache.features.spec import IMPORTED, FeatureSpec, Specs, by_name
from slt_cache.hashes import RECORD_FILE
from slt_cache.pipeline.feature_spec import differs_from as differs_from
from slt_cache.runs.encoders import recorded_encoder, recorded_file, with_overrides
from slt_cache.runs.run import Run, open_run
from slt_cache.runs.settings_use import named
from slt_cache.video.chunks import ChunkReader
from slt_cache.video.landmarks import LandmarkReader
from slt_cache.video.program import ProgramReader


def encoder_of(run: Run, spec: FeatureSpec) -> Encoder:
    """Returns the run's encoder. Raises InputError if its features differ from those the translator was trained on."""
    if spec.level == IMPORTED:
        raise InputError(
            f"{run.llm}: stage 2 was trained on imported features ({spec.source}); it cannot read videos. "
            f"Import the features of these clips too ({command('cache import FOLDER', out='FILE.h5')}), "
            f"and score them: {run.command('eval --features FILE.h5')}"
        )
    if spec.encoder is not None and run.config.encoder.name is None:
        raise InputError(
            f"{run.llm}: stage 2 was trained on features of encoder {spec.encoder}, which {run.config_file} does not "
            f"name. Name it: --set encoder.name={spec.encoder}"
        )
    encoder = of_dim(_own_encoder(run, named=spec.encoder is not None), spec.dim)
    different = differs_from(encoder, spec)
    if different:
        which = f"{run.visual}: the visual encoder" if spec.encoder is None else f"{run.folder}: encoder {spec.encoder}"
        raise InputError(
            f"{which} is not the one that stage 2 was trained on ({'; '.join(different)}). "
            f"Extract its features ({run.command('extract-features --restart')}) "
            f"and train stage 2 again ({run.command('train-llm --restart')})."
        )
    return encoder


def of_dim(encoder: Encoder, dim: int) -> Encoder:
    """Returns the encoder, made to refuse features of other than these channels if it does not know its own."""
    return encoder.of_dim(dim) if isinstance(encoder, CommandEncoder) else encoder


def extractor_of(run: Run) -> Encoder:
    """Returns the encoder with which a run's features are extracted."""
    return _own_encoder(run, named=run.config.encoder.name is not None)


def _own_encoder(run: Run, named: bool) -> Encoder:
    return open_encoder(run.config.encoder, run.config.video) if named else load_visual(run.visual / "best")


def reader_of(
    encoder: Encoder, decoder: str = "auto", augmentation: AugmentationConfig | None = None, seed: int = 0
) -> ChunkReader:
    """Returns the reader of an encoder's input, with the decoder of a run (`video.decoder`); augmentation and seed are
    those of views other than 0. Raises InputError if the decoder cannot be used."""
    video = encoder.video.model_copy(update={"decoder": decoder})
    if isinstance(encoder, PoseEncoder):
        return LandmarkReader(video, python=encoder.python)
    if isinstance(encoder, CommandEncoder):
        return ProgramReader(video, arguments=encoder.arguments, dim=encoder.dim, together=encoder.together)
    return ChunkReader(video, augmentation or AugmentationConfig(), seed)


def encoders_of(run: Run, specs: Specs) -> dict[str, Encoder]:
    """Returns the encoder of each stream, by name; of a single stream, without a name. A stream's spec says which named
    encoder it is of, and how frames are read. Raises InputError like `encoder_of`, naming the stream."""
    found = {}
    for name, spec in by_name(specs).items():
        used = run_with_encoder(run, spec, alone=not name)
        try:
            found[name] = encoder_of(used, spec)
        except InputError as error:
            place, stream = recorded_file(run.folder, spec), f"stream {name}: " if name else ""
            moved = f" If it has moved, correct {place}." if used is not run and place.is_file() else ""
            raise InputError(f"{stream}{error}{moved}") from error
    return found


def run_with_encoder(run: Run, spec: FeatureSpec, alone: bool = False) -> Run:
    """Returns the run with the settings of the encoder of a spec: where it is, as the run's extractions recorded it,
    and how it reads frames. If it is `alone`, the run's own settings count wherever they name it."""
    own = run.config.encoder
    if spec.encoder is None or (alone and (own.name is not None and _is_meant(run, spec.encoder))):
        return run
    known = recorded_encoder(run, spec)
    if known is None and alone:
        return run
    if known is None:
        is_named = own.name is not None and is_same_name(own.name, spec.encoder)
        imagenet = {"name": spec.encoder, "weights": BUILT_IN[1], "named_weights": None}
        known = own.as_named() if is_named else own.model_copy(update=imagenet)
    known = with_overrides(known, run.overrides, own)
    options, crop = spec.options or {}, spec.crop or run.config.video.size
    scales = tuple(options.get("scales", (1,)))
    encoder = {"scales": scales, "output": options.get("output"), "stride": spec.stride}
    read = {name: getattr(spec, name) for name in ("keep_rate", "fit", "blank", "mean", "std")}
    video = {name: value for name, value in read.items() if value is not None}  # a program's features have none
    video |= {"fps": spec.fps or 0.0, "size": crop, "resize": spec.resize or crop}
    sections = {
        "encoder": known.model_copy(update=encoder),
        "video": run.config.video.model_copy(update=video).of_size(crop // max(scales)),
    }
    return replace(run, config=run.config.model_copy(update=sections))


def _is_meant(run: Run, encoder: str) -> bool:
    """Returns whether the run's settings name this encoder, or the command line another one, which is refused later."""
    return "encoder.name" in named(run.overrides) or is_same_name(run.config.encoder.name or "", encoder)


def load_encoder(
    folder: Path | str,
    *,
    level: str = "sign",
    dtype: str = "float16",
    precision: str = "fp32",
    device: str = "auto",
) -> FrozenEncoder:
    """Loads a visual encoder, a function from the frames of a clip, uint8 [T', 3, S, S], to the features [N, C] that
    `extract-features` stores.

    `folder` is a run folder, whose encoder is the one that its config names or that of stage 1; or the `visual/best` of
    a run, or one of `visual/epochs`. Level, dtype and precision are those of the
    config section `features`. Frames are RGB, sampled, resized and cropped as `video` says in the run's config; S is
    `video.size`; a named encoder has one level, and may have its own S. Raises InputError for a folder without an
    encoder, and for invalid values."""
    asked = {"level": level, "dtype": dtype, "precision": precision}
    features = check_config({"features": asked}, "of load_encoder").features
    folder = Path(folder)
    encoder = _in_folder(folder)
    spec = encoder.spec(features, AugmentationConfig())
    frozen = frozen_encoder(encoder, spec, pick_device(device, precision, "precision"), None)
    if not isinstance(frozen, FrozenEncoder):
        raise InputError(f"{folder}: encoder {spec.encoder} takes no frames from Python. Use extract-features.")
    return frozen


def _in_folder(folder: Path) -> Encoder:
    """Returns the encoder of a run folder, or that in a folder of a stage 1."""
    run = open_run(folder) if (folder / CONFIG_FILE).is_file() else None
    if run is not None and run.config.encoder.name is not None:
        return extractor_of(run)
    return load_visual(folder if (folder / RECORD_FILE).is_file() else folder / "visual" / "best")


def frozen_encoder(encoder: Encoder, spec: FeatureSpec, device: torch.device, batch_frames: int | None) -> Frozen:
    """Makes an encoder for features of this spec, view 0. A CPU always runs in fp32: the same features, more
    precisely."""
    precision = "fp32" if device.type == "cpu" else spec.precision or "fp32"
    return encoder.frozen(spec, device, precision, batch_frames, size=encoder.video.size)
