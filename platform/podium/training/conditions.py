"""Training: what numbers are computed with, beside code, data and packages. Imports no torch for who does without."""

import sys

from podium.spec.space import Value
from podium.spec.sweep import SweepSpec


def conditions(spec: SweepSpec) -> dict[str, Value]:
    """The settings of this process that change results; nothing if torch was not used.

    Returns:
        `device`, `threads`, `instructions` (of the processor), `precision` and `matmul_precision`, whether cuDNN takes
        TF32 (`cudnn_tf32`) and tries algorithms out (`cudnn_benchmark`), and whether torch is held to deterministic
        algorithms (`deterministic`), which it is not by default.
    """
    if "torch" not in sys.modules:
        return {}

    import torch

    has_gpu = spec.resources.gpus > 0 and torch.cuda.is_available()
    return {
        "device": torch.cuda.get_device_name() if has_gpu else "cpu",
        "threads": torch.get_num_threads(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "precision": spec.compute.precision,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn_tf32": torch.backends.cudnn.allow_tf32,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
