"""Encoders by name. Backbones that stage 1 trains: `encoder.backbone`; encoders that are used as they come:
`encoder.name`.

To add a backbone of torchvision, add a row; if its modules are arranged in a new way, add a file with a function that
lists them in order, as in resnet.py. To add an encoder of another kind, add a file with a function that returns its
`NamedEncoder`, as in hf.py, and a row of KINDS."""

from collections.abc import Callable, Mapping

from slt_cache.config import OF_TORCHVISION, EncoderConfig, VideoConfig
from slt_cache.encoders import command, efficientnet_lite, feature_stack, pose, resnet, torchvision_models
from slt_cache.encoders.backbone import Backbone
from slt_cache.encoders.base import NamedEncoder
from slt_cache.errors import InputError

BACKBONES = {
    row.name: row
    for row in (
        Backbone("resnet18", 512, resnet.blocks),  # (Chen et al. 2024, 4.3)
        Backbone("resnet34", 512, resnet.blocks),
        Backbone("resnet50", 2048, resnet.blocks),
        Backbone("mobilenet_v3_large", 960, feature_stack.blocks, classifier="classifier"),
        Backbone("efficientnet_b0", 1280, feature_stack.blocks, classifier="classifier"),
    )
}
"""Networks of torchvision."""
OF_PACKAGES = {efficientnet_lite.NAME: efficientnet_lite.BACKBONE}
"""Networks of packages that may not be installed."""


def find_backbone(name: str) -> Backbone:
    """Returns the backbone of a name. Raises InputError for an unknown one, listing those that exist, and
    UnreachableWeights if its packages are not installed."""
    rows = {**BACKBONES, **OF_PACKAGES}
    if name not in rows:
        raise InputError(
            f"encoder.backbone {name}: unknown. Choose one of {', '.join(BACKBONES)}. With its package installed, "
            f"{', '.join(OF_PACKAGES)} is one, too."
        )
    rows[name].require_installed()
    return rows[name]


Load = Callable[[str, EncoderConfig, VideoConfig], NamedEncoder]
"""Function that returns an encoder by what follows the colon in its name. Raises InputError."""


def name_of_network(name: str) -> str:
    """Returns how a spec names the network that `encoder.name` names: a backbone by its own name."""
    short = name.removeprefix(OF_TORCHVISION)
    return short if short in BACKBONES else name


def _torchvision(name: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    kind = BACKBONES.get(name) or torchvision_models.backbone_named(name)
    return torchvision_models.load(kind, name_of_network(OF_TORCHVISION + name), config, video)


def _hf(which: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    from slt_cache.encoders import hf  # imports transformers

    return hf.load(which, config, video)


KINDS: Mapping[str, Load] = {
    "torchvision:NAME": _torchvision,
    "hf:NAME|FOLDER": _hf,
    efficientnet_lite.NAME: efficientnet_lite.load,
    "pose:mediapipe": pose.load,
    "command:PROGRAM": command.load,
}
"""Kinds of named encoders, by the form of their names. The name of a backbone is short for `torchvision:NAME`."""


def open_encoder(config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder that `encoder.name` names. Raises InputError for an unknown one, listing those that exist,
    and UnreachableWeights if its weights are not on this machine and cannot be downloaded."""
    config = config.as_named()
    assert config.name is not None
    kind, _, which = (OF_TORCHVISION + config.name if config.name in BACKBONES else config.name).partition(":")
    for form, load in KINDS.items():
        if form.partition(":")[0] == kind and bool(which) == (":" in form):
            found = load(which, config, video)
            _require_used(config, found)
            return found
    raise InputError(f"encoder.name {config.name}: unknown. Choose one of {', '.join([*BACKBONES, *KINDS])}.")


def _require_used(config: EncoderConfig, encoder: NamedEncoder) -> None:
    """Raises InputError for settings that this encoder does not have."""
    if config.stride is not None and not 1 < encoder.window >= config.stride:
        reads = f"windows of {encoder.window} frames" if encoder.window > 1 else "single frames"
        raise InputError(f"encoder.stride {config.stride}: {config.name} reads {reads}. Omit the setting, or lower it.")
    if config.output is not None and "output" not in encoder.options:
        raise InputError(f"encoder.output {config.output}: {config.name} has only one output. Omit the setting.")
