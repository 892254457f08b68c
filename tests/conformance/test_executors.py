"""Every executor against the same suites."""

import pytest

from podium.execution.inline import InlineExecutor
from podium.execution.simulated import SimulatedExecutor
from podium.testing.cohorts import CohortProcessSuite, CohortSuite, CohortWorkerSuite
from podium.testing.executors import DIVERGES, ExecutorSuite, ProcessSuite, WorkerSuite, curve, suite_spec


class TestSimulatedExecutor(ExecutorSuite):
    @pytest.fixture(scope="class")
    def make_executor(self):
        return lambda: SimulatedExecutor(suite_spec(), 2, curve, lambda advance: 1.0)


class TestSimulatedCohorts(CohortSuite):
    @pytest.fixture(scope="class")
    def make_executor(self):
        return lambda: SimulatedExecutor(suite_spec(), 2, curve, lambda advance: 1.0)

    def parameters(self, index):
        return {"x": 0.1 * index}

    slow = parameters

    def diverging(self):
        return {"x": DIVERGES}


class TestInlineExecutor(WorkerSuite):
    @pytest.fixture(scope="class")
    def make_executor(self, assignment):
        return lambda: InlineExecutor(assignment, lambda: False)


@pytest.mark.ray
@pytest.mark.slow
class TestRayExecutor(ProcessSuite):
    @pytest.fixture(scope="class")
    def make_executor(self, assignment, running_ray):
        from podium.execution.ray import RayExecutor

        return lambda: RayExecutor(assignment, most=lambda: 1)


class TestInlineCohorts(CohortWorkerSuite):
    @pytest.fixture(scope="class")
    def make_executor(self, assignment):
        return lambda: InlineExecutor(assignment, lambda: False)


@pytest.mark.ray
@pytest.mark.slow
class TestRayCohorts(CohortProcessSuite):
    @pytest.fixture(scope="class")
    def make_executor(self, assignment, running_ray):
        from podium.execution.ray import RayExecutor

        return lambda: RayExecutor(assignment, most=lambda: 1)
