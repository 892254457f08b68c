"""The champion's code, copied beside its weights: raw samples in, answers out. Needs no Podium.

MLflow runs this file when it loads the model (models from code), and nothing is unpickled but what
`torch.export.load` unpickles of its own archive; so the archive's checksum is compared first.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class Champion(PythonModel):
    """A network with its normalization before it, and class probabilities after it."""

    def load_context(self, context: Any) -> None:
        """Loads the exported network.

        Raises:
            ValueError: if its file is not the one that was registered.
        """
        description = json.loads(Path(context.artifacts["description"]).read_text())
        network = Path(context.artifacts["network"])
        found = hashlib.sha256(network.read_bytes()).hexdigest()
        if found != description["sha256"]:
            raise ValueError(f"{network} was altered: its SHA-256 is {found}, registered was {description['sha256']}")
        self._inputs = tuple(description["inputs"])
        self._classes = int(description["classes"])
        shape = (-1,) + (1,) * (len(self._inputs) - 1)
        self._mean = np.array(description["mean"], dtype=np.float32).reshape(shape)
        self._scale = (1.0 / np.array(description["std"])).astype(np.float32).reshape(shape)
        self._normalize = bool(description["normalize"])
        self._network = torch.export.load(network).module()

    def predict(
        self,
        context: Any,
        model_input: np.ndarray,  # the one hint that MLflow accepts without a warning
        params: Any = None,
    ) -> np.ndarray[Any, Any]:
        """Answers for a batch.

        Args:
            context: Not used.
            model_input: `[B, *inputs]`, as stored: not normalized.
            params: Not used.

        Returns:
            `[B, classes]` float32 probabilities, or the network's own float32 outputs where there are no classes.
        """
        inputs = np.asarray(model_input).astype(np.float32).reshape(-1, *self._inputs)
        if self._normalize:
            inputs = (inputs - self._mean) * self._scale
        with torch.inference_mode():
            outputs = self._network(torch.from_numpy(inputs))
            if self._classes:
                outputs = torch.softmax(outputs, dim=-1)
        return np.asarray(outputs.numpy())


set_model(Champion())
