"""Training: what an advance waits for besides its steps."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
class Pauses:
    """Seconds that this rank has waited; None where nobody measures it.

    Attributes:
        data_s: For batches.
        checkpoint_s: For checkpoints to be read and written.
    """

    data_s: float | None = None
    checkpoint_s: float | None = None

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Counts the time within as that of a checkpoint."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.checkpoint_s = (self.checkpoint_s or 0.0) + time.perf_counter() - began
