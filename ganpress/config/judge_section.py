"""Section of the judge, the feature network that measures generators."""

from typing import Literal

from pydantic import Field, model_validator

from ganpress.config.base import Section
from ganpress.config.bounds import FilePath, ImagesShown, LearningRate, Share, StatisticsBatchSize

JudgeKind = Literal["classifier", "domains", "rotations", "segmenter", "inception", "squeezenet"]


class JudgeConfig(Section):
    """The feature network that measures generators.

    Trained on the train split: `classifier` on the classes of labelled images; `domains` to distinguish sources from
    targets (unpaired data without classes); `rotations` to predict by how many quarter turns a target was rotated
    (Gidaris et al. 2018; data without any labels); `segmenter` on the label maps of semantic data, so that it gives
    mean class IoU. From files: `inception`, torch-fidelity's InceptionV3; `squeezenet`, SqueezeNet 1.0 in Caffe's
    colour convention; `segmenter` with `weights`, the user's own segmentation network.
    """

    kind: JudgeKind
    weights: FilePath | None = None
    """Local file: Inception's weights (None uses torch's cache), SqueezeNet's, or a segmentation network as
    TorchScript (`.pt`) or `torch.export` program (`.pt2`): images in [-1, 1] -> logits of the label classes."""
    width: int = Field(ge=4, le=4096)
    """Number of channels of the first layer."""
    features: int = Field(ge=8, le=65_536)
    """Length of the feature vector that metrics compare."""
    train_images: ImagesShown
    """Training length as a number of images shown."""
    batch_size: StatisticsBatchSize
    learning_rate: LearningRate
    min_accuracy: Share
    """Smallest allowed accuracy of the judge on the test split; pixel accuracy for a segmenter."""

    @model_validator(mode="after")
    def _weights_fit(self) -> "JudgeConfig":
        if self.kind == "squeezenet" and self.weights is None:
            raise ValueError("kind 'squeezenet' needs weights, the path of a local file")
        if self.kind in ("classifier", "domains", "rotations") and self.weights is not None:
            raise ValueError(f"kind '{self.kind}' is trained here and takes no weights; found {self.weights}")
        return self

    @property
    def trained(self) -> bool:
        """Return whether the stage trains the network instead of reading it from a file."""
        return self.kind in ("classifier", "domains", "rotations") or (self.kind == "segmenter" and not self.weights)
