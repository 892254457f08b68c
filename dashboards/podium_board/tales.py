"""Stories of the trials of one sweep, as `podium ledger show` tells them, in little memory: columns that only grow."""

from array import array

import numpy as np

from podium.wiring.stories import Entry


class Tales:
    """Takes what is told, and gives what was told of one trial."""

    def __init__(self) -> None:
        self._trials, self._sequences, self._at, self._texts = array("i"), array("q"), array("d"), list[str]()

    def take(self, entry: Entry) -> None:
        """Notes one line; those about the sweep are left out."""
        if entry.trial is not None:
            self._trials.append(entry.trial)
            self._sequences.append(entry.sequence)
            self._at.append(entry.at)
            self._texts.append(entry.text)

    def of(self, trial: int) -> list[Entry]:
        """The lines about a trial, in order."""
        own = np.flatnonzero(np.array(self._trials) == trial).tolist()
        return [Entry(self._sequences[place], self._at[place], trial, self._texts[place]) for place in own]
