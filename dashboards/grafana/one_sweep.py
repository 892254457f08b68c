"""The dashboard of one sweep."""

from panels import BAD, GOOD, NUMBER, RESERVED, SERIES, STATES, Dashboard, Panel, rate

from podium.sweep.trial import TrialState


def one(metric: str, *, by: str = "", where: str = "") -> str:
    """A metric of the chosen sweep, in sum over what is not named."""
    filters = ", ".join(filter(None, ['sweep="$sweep"', where]))
    return f"sum by ({by}) ({metric}{{{filters}}})" if by else f"sum({metric}{{{filters}}})"


SPENT, WASTED, CORES = "podium_device_seconds_total", "podium_device_seconds_wasted_total", 'device="cpu"'
OVER = one("podium_trials", where=f'state=~"{"|".join(state for state in TrialState if state.is_ended)}"')
BUSY = one("podium_gangs", where='state="busy"')
KINDS = 'kind=~"proposed|progress|saved|advanced|advance_failed|gang_lost"'
EVENTS = rate("podium_events_total", by="kind", where=f'sweep="$sweep", {KINDS}')
FREE = one("podium_disk_free_bytes", by="disk")
LOOPS = rate("podium_loop_seconds_bucket", by="le", where='sweep="$sweep"')

SWEEP = Dashboard(
    uid="podium-sweep",
    title="Podium: one sweep",
    text="How one sweep goes: its trials, its gangs, and its driver.",
    variables={"sweep": ("Sweep", "label_values(podium_sweep_info, sweep)")},
    rows={
        "How it stands": [
            Panel(
                title="Trials that have ended",
                text="Of all that the budget allows.",
                unit="percentunit",
                queries={"ended": f"{OVER} / {one('podium_budget_trials')}"},
                **NUMBER,
            ),
            Panel(
                title="Best value",
                text="The best trial's, at the highest rung that any has reached.",
                unit="none",
                queries={"{{metric}}": one("podium_best_value", by="metric")},
                **NUMBER,
            ),
            Panel(
                title="Gangs at work",
                text="Gangs that train now, of those that are ready. Idle ones wait for a trial.",
                unit="percentunit",
                queries={"busy": f"{BUSY} / {one('podium_gangs')}"},
                **NUMBER,
            ),
            Panel(
                title="In vain",
                text="Share of the cores' time that led to nothing: trained again after a loss, or spent on trials "
                "that failed, diverged, or ended before their first rung.",
                unit="percentunit",
                queries={"wasted": f"{one(WASTED, where=CORES)} / {one(SPENT, where=CORES)}"},
                limit=0.25,
                **NUMBER,
            ),
            Panel(
                title="Behind in MLflow",
                text="Events that MLflow does not show yet. It lags by seconds as long as the sweep runs.",
                unit="suffix: events",
                queries={"events": one("podium_tracker_backlog_events")},
                **NUMBER,
            ),
            Panel(
                title="Age of the lease",
                text="Since the driver has last renewed its right to write, as it does every 5 s; after 30 s another "
                "may take over.",
                unit="s",
                queries={"age": one("podium_lease_age_seconds")},
                limit=20,
                **NUMBER,
            ),
        ],
        "Trials": [
            Panel(
                title="Trials by state",
                text="Every trial that was drawn, in the state it is in.",
                unit="short",
                axis="trials",
                queries={"{{state}}": one("podium_trials", by="state")},
                colours=STATES,
                is_stacked=True,
                width=12,
            ),
            Panel(
                title="Best value",
                text="Only trials of the highest rung are compared: it may fall back when one reaches a higher rung.",
                unit="none",
                axis="value of the objective",
                queries={"{{metric}}": one("podium_best_value", by="metric")},
                width=12,
            ),
        ],
        "Gangs and devices": [
            Panel(
                title="Gangs",
                text="Idle ones wait for a trial that a rung lets go on, for one to be drawn, or for the end.",
                unit="short",
                axis="gangs",
                queries={"{{state}}": one("podium_gangs", by="state")},
                colours={"busy": GOOD, "idle": RESERVED},
                is_stacked=True,
            ),
            Panel(
                title="Lanes",
                text="Trials that are trained at this moment; more than gangs at work, where trials share stacks.",
                unit="short",
                axis="trials",
                queries={"lanes": one("podium_lanes"), "gangs at work": BUSY},
            ),
            Panel(
                title="Samples",
                text="How fast the trials that are trained now have trained their last epoch, in sum. Validation and "
                "checkpoints are not in it; a training function counts if it reports `train/samples_per_s`.",
                unit="suffix: samples/s",
                axis="samples a second",
                queries={"samples a second": one("podium_samples_per_second")},
            ),
            Panel(
                title="Devices' time",
                text="What training has taken, and what of it was in vain. Useful time is wasted once its trial fails.",
                unit="s",
                axis="time of devices",
                queries={
                    "useful {{device}}": f"{one(SPENT, by='device')} - {one(WASTED, by='device')}",
                    "wasted {{device}}": one(WASTED, by="device"),
                },
                colours={
                    "useful cpu": SERIES[0],
                    "useful gpu": SERIES[2],
                    "wasted cpu": BAD,
                    "wasted gpu": SERIES[1],
                },
                is_stacked=True,
                width=12,
            ),
            Panel(
                title="Free on disk",
                text="Of the disks that hold this machine's state and the store, if that is a folder.",
                unit="percentunit",
                axis="share that is free",
                queries={"{{disk}}": f"{FREE} / {one('podium_disk_size_bytes', by='disk')}"},
                most=1,
                width=12,
            ),
        ],
        "Driver": [
            Panel(
                title="Events",
                text="What the driver writes into the ledger. No progress at all for long: the sweep stalls.",
                unit="eps",
                axis="events a second",
                queries={"{{kind}}": EVENTS},
                is_stacked=True,
                width=12,
            ),
            Panel(
                title="A loop of the driver",
                text="From what the executor has told to the next question: writing, deciding, asking the sampler.",
                unit="s",
                axis="seconds",
                queries={
                    "median": f"histogram_quantile(0.5, {LOOPS})",
                    "slowest in a hundred": f"histogram_quantile(0.99, {LOOPS})",
                },
                width=12,
            ),
            Panel(
                title="Behind in MLflow",
                text="Events that MLflow does not show yet.",
                unit="short",
                axis="events",
                queries={"events": one("podium_tracker_backlog_events")},
                width=12,
            ),
            Panel(
                title="Age of the lease",
                text="Renewed every 5 s; lost to whoever wants it after 30 s.",
                unit="s",
                axis="seconds",
                queries={"age": one("podium_lease_age_seconds")},
                limit=20,
                bad=BAD,
                width=12,
            ),
        ],
    },
)
