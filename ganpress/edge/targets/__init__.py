"""Edge targets by name; each one's packages are imported when it is used."""

from collections.abc import Mapping

from ganpress.edge.targets.executorch_target import ExecuTorchTarget
from ganpress.edge.targets.onnx_target import OnnxTarget
from ganpress.edge.targets.openvino_target import OpenVinoTarget
from ganpress.edge.targets.target import Target

TARGETS: Mapping[str, Target] = {target.name: target for target in (OnnxTarget(), OpenVinoTarget(), ExecuTorchTarget())}
"""As in `export.items.X.target`."""
