"""Image classifiers of torchvision as they come, frozen, without their last layer: `resnet18`, `torchvision:NAME`."""

import torch
import torchvision
from torch import nn
from torchvision.models import GoogLeNet, Inception3, get_model, list_models

from slt_cache.config import EncoderConfig, VideoConfig
from slt_cache.encoders.backbone import Backbone
from slt_cache.encoders.base import NamedEncoder, NetworkEncoder
from slt_cache.encoders.scales import at_scales
from slt_cache.encoders.weights import about_weights, load_backbone, tensors_sha256
from slt_cache.errors import InputError

OF_ONE_SIZE = ("vit_", "maxvit_")
"""Beginnings of the names of networks that accept frames of one size only."""
SETTING = "encoder.name torchvision"
LICENCE = "BSD-3-Clause (torchvision)"
OF_IMAGENET = "trained on images for non-commercial research"


def backbone_named(name: str) -> Backbone:
    """Returns the classifier of this name without its last linear layer. Raises InputError for an unknown name."""
    names = list_models(module=torchvision.models)
    if name not in names:
        raise InputError(
            f"encoder.name torchvision:{name}: no image classifier of torchvision. Choose one of {', '.join(names)}."
        )
    modules = get_model(name, weights=None).named_modules()
    linear = [(path, one) for path, one in modules if isinstance(one, nn.Linear)]
    if not linear:
        raise InputError(
            f"encoder.name torchvision:{name}: its classifier has no linear layer. Choose another network."
        )
    path, last = linear[-1]
    return Backbone(name, last.in_features, lambda network: [network], classifier=path)


def load(kind: Backbone, name: str, config: EncoderConfig, video: VideoConfig) -> NamedEncoder:
    """Returns the encoder of this kind, called `name`, with the weights that `encoder.weights` names. Random ones are
    always the same. Raises InputError."""
    is_imagenet = config.weights == "imagenet"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = load_backbone(kind.build(), kind, config.weights, "encoder.name").eval()
    if config.weights != "none" and isinstance(network, Inception3 | GoogLeNet):
        network.transform_input = True  # torchvision's weights of these expect another normalization
    own = kind.imagenet.transforms()
    size = own.crop_size[0] if name.removeprefix("torchvision:").startswith(OF_ONE_SIZE) else video.size
    normalization = {"mean": tuple(own.mean), "std": tuple(own.std)} if is_imagenet else {}
    backbone, dim, seen, options = at_scales(network, kind.dim, video.of_size(size), config)
    return NetworkEncoder(
        name,
        dim,
        tensors_sha256(network.state_dict()),
        f"code {LICENCE}; {about_weights(config.weights, OF_IMAGENET)}",
        seen.model_copy(update=normalization),
        options=options,
        backbone=backbone,
        fusable=True,
    )
