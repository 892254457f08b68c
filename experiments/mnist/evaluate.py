"""How many of the official test set's 10,000 digits a registered model reads: plain MLflow, and the published arrays.

python experiments/mnist/evaluate.py --home .podium mnist
"""

import argparse
from pathlib import Path

import mlflow.pyfunc
import numpy as np
from task import arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", default=".podium")
    parser.add_argument(
        "models", nargs="+", help="names of registered models: their champions, or their first versions"
    )
    given = parser.parse_args()
    address = f"sqlite:///{Path(given.home).resolve() / 'mlflow.db'}"
    mlflow.set_tracking_uri(address)
    mlflow.set_registry_uri(address)
    client, found = mlflow.MlflowClient(), arrays()
    accuracies = []
    for name in given.models:
        version = client.get_registered_model(name).aliases.get("champion", "1")
        model = mlflow.pyfunc.load_model(f"models:/{name}/{version}")
        answers = model.predict(found["x_test"][:, None])
        accuracies.append(float(np.mean(answers.argmax(axis=1) == found["y_test"])))
        print(f"{name} version {version}: {accuracies[-1]:.4f} of {len(answers):,} test images")
    if len(accuracies) > 1:
        print(f"mean {np.mean(accuracies):.4f}, standard deviation {np.std(accuracies, ddof=1):.4f}")


if __name__ == "__main__":
    main()
