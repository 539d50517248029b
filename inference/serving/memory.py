"""The memory budget: what cannot fit is refused with a sentence before it runs, not killed in the middle."""

from pathlib import Path

import torch

from serving.errors import ModelRefused, OverMemoryBudget

# cgroup v2's limit of this container, and the machine's memory where there is none.
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_MACHINE = Path("/proc/meminfo")


class MemoryBudget:
    """Bytes of the device that holds the models. Weights are exact; activations are each pipeline's own estimate."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.weights = 0

    def hold(self, name: str, weight_bytes: int) -> None:
        """Accounts for a model about to be loaded. Raises ModelRefused when its weights do not fit."""
        if self.weights + weight_bytes > self.total:
            raise ModelRefused(
                f"{name} weighs {weight_bytes} bytes; {self.total - self.weights} of {self.total} are left.",
                mend="Use a larger machine or a smaller model, or raise INFERENCE_MEMORY_BYTES.",
            )
        self.weights += weight_bytes

    def copies(self, activation_bytes: int) -> int:
        """How many requests of this need fit together beside the weights."""
        return (self.total - self.weights) // max(1, activation_bytes)

    def check(self, activation_bytes: int) -> None:
        """Raises OverMemoryBudget when not even one fits."""
        if not self.copies(activation_bytes):
            raise OverMemoryBudget(
                f"The request needs about {activation_bytes} bytes beside the weights;"
                f" {self.total - self.weights} are left."
            )


def device_bytes(device: torch.device) -> int:
    """The memory of the GPU, or of this container or machine on a CPU."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    limit = _CGROUP.read_text().strip() if _CGROUP.exists() else "max"
    if limit != "max":
        return int(limit)
    first = _MACHINE.read_text().splitlines()[0]  # MemTotal:  24601080 kB
    return int(first.split()[1]) * 1024
