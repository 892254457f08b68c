"""Demand: for how many gangs there is work, so that hosts are asked for and given back. Pure; no decision reads it."""

import math
from collections.abc import Iterable

from podium.sweep.agenda import Agenda
from podium.sweep.cohorts import Cohorts
from podium.sweep.spending import Spending
from podium.sweep.supply import Supply

COMING_S = 60.0
"""A host is worth asking for if it has at least so much work when it comes, which takes about as long."""


class Demand:
    """Counts what could be trained at once.

    Args:
        agenda: The gangs and what they do.
        supply: How many trials may still be drawn.
        cohorts: Which of them are trained together.
        spending: How long advances take.
        most_gangs: How many gangs may train one advance.
    """

    def __init__(self, agenda: Agenda, supply: Supply, cohorts: Cohorts, spending: Spending, most_gangs: int) -> None:
        self._agenda, self._supply, self._cohorts, self._spending = agenda, supply, cohorts, spending
        self._most_gangs = most_gangs

    def gangs(self, ready: Iterable[int], *, may_draw: bool) -> int:
        """For how many gangs there is work: those that train, and one for each cohort that could begin.

        So many that each has `COMING_S` of it, once it is known how long advances take; those that are there have work
        however short it is. Cohorts of trials that are not drawn yet are taken to be as wide as those that run; while
        none runs that could be a stack, one is counted.

        Args:
            ready: Trials that could go on now.
            may_draw: Whether new trials may be drawn.
        """
        running = self._agenda.advances
        lanes = sum(len(advance.lanes) for advance in running)
        cohorts = self._cohorts.count(ready) + self._agenda.num_coming
        if may_draw and self._supply.num_left > 0:
            alone = self._supply.num_left if self._cohorts.most == 1 else 1
            cohorts += math.ceil(self._supply.num_left * len(running) / lanes) if running else alone
        there, advance_s = len(self._agenda.gangs), self._spending.advance_s
        wanted = (len(running) + cohorts) * self._most_gangs
        return wanted if advance_s is None else min(wanted, max(there, int(cohorts * advance_s / COMING_S)))
