"""Writing a study into an Optuna storage, all of it in one transaction.

Optuna's own way in takes a transaction for each trial and a query for each of its parameters, which is minutes for
thousands of trials, and shows halves of them meanwhile. So the tables that Optuna has made, and whose version it has
checked, are filled directly.
"""

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.distributions import distribution_to_json
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from podium.errors import UserError
from podium.masking import without_passwords

MARK = "podium.sweep"
"""The study's attribute that holds the identity of the sweep it was made from."""

METRICS = "study:metric_names"
"""Where Optuna keeps the names of objectives."""

BATCH = 2500

CHILDREN = (
    "trial_params",
    "trial_values",
    "trial_intermediate_values",
    "trial_user_attributes",
    "trial_system_attributes",
    "trial_heartbeats",
)

Tables = Mapping[str, sa.Table]
Rows = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class Study:
    """What is written.

    Attributes:
        name: Its name.
        identity: Tells the sweep that it is made from apart from others of its name.
        directions: Of the objectives.
        metrics: Their names.
        attributes: What else is known of it.
        trials: By number, from 0, none left out.
    """

    name: str
    identity: str
    directions: Sequence[StudyDirection]
    metrics: Sequence[str]
    attributes: Mapping[str, Any]
    trials: Sequence[FrozenTrial]


def write(url: str, study: Study, stage: Callable[[str], None]) -> None:
    """Writes a study, in the place of what was written of the same sweep before; other studies are left alone.

    Whoever reads the database meanwhile sees all of the old study, or all of the new one. Studies and trials keep their
    ids, so that addresses and notes of Optuna Dashboard stay right.

    Args:
        url: The storage, as SQLAlchemy writes addresses.
        study: What to write.
        stage: Is told how far it is.

    Raises:
        UserError: if the database cannot be used, is no Optuna storage, is one of another version of Optuna, or has a
            study of that name that was not made from this sweep.
    """
    engine = _open(url)
    try:
        _write(engine, study, stage)
    except SQLAlchemyError as error:
        raise UserError(
            f"{without_passwords(url)} cannot be written: {_said(error)}; the study there is as it was"
        ) from error
    finally:
        engine.dispose()


def _open(url: str) -> sa.Engine:
    """The database with Optuna's tables, made if it is empty."""
    try:
        address = sa.make_url(url)
        if address.drivername == "postgresql":
            address = address.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address)
        with engine.connect() as connection:
            names = set(sa.inspect(connection).get_table_names())
        engine.dispose()
        if names and not {"studies", "trials", "version_info"} <= names:
            some = ", ".join(sorted(names)[:3])
            raise UserError(
                f"{without_passwords(url)} is no Optuna storage: it has the tables {some}; give a database of "
                "its own, such as sqlite:///study.db"
            )
        storage = RDBStorage(address.render_as_string(hide_password=False))
        storage.remove_session()
        return storage.engine
    except (ArgumentError, NoSuchModuleError) as error:
        raise UserError(f"{without_passwords(url)} is no address of a database; write sqlite:///study.db") from error
    except ImportError as error:
        raise UserError(f"{without_passwords(url)} needs a package that is not installed: {error}") from error
    except RuntimeError as error:
        raise UserError(f"{without_passwords(url)} was made by another version of Optuna: {_said(error)}") from error
    except SQLAlchemyError as error:
        raise UserError(
            f"{without_passwords(url)} cannot be opened as a database: {_said(error)}; give another file in a "
            "folder that you may write to, or a database that answers"
        ) from error


def _write(engine: sa.Engine, study: Study, stage: Callable[[str], None]) -> None:
    metadata = sa.MetaData()
    metadata.reflect(engine)
    tables, trials = metadata.tables, study.trials
    with engine.begin() as connection:
        key = _find(connection, tables, study)
        _fill(connection, tables, key, study)
        ids = _make_trials(connection, tables, key, trials)
        for start in range(0, len(trials), BATCH):
            if start:
                stage(f"Writing trials: {start:,} of {len(trials):,} done")
            for table, rows in _rows(trials[start : start + BATCH], ids).items():
                if rows:
                    connection.execute(tables[table].insert(), rows)


def _find(connection: sa.Connection, tables: Tables, study: Study) -> int:
    """The id of the study, which is made if it is not there."""
    studies, marks, name = tables["studies"], tables["study_user_attributes"], study.name
    found = connection.scalar(sa.select(studies.c.study_id).where(studies.c.study_name == name))
    if found is None:
        made = connection.execute(studies.insert().values(study_name=name)).inserted_primary_key
        assert made is not None
        return int(made[0])
    mark = connection.scalar(sa.select(marks.c.value_json).where(marks.c.study_id == found, marks.c.key == MARK))
    if mark is None or json.loads(mark) != study.identity:
        made_by = "not made by Podium" if mark is None else "made from another sweep of that name"
        where = without_passwords(str(connection.engine.url))
        raise UserError(
            f"{where} has a study {name!r} that was {made_by}, and it stays as it is; give another database, or delete "
            f"it: optuna delete-study --study-name {name} --storage {where}"
        )
    return int(found)


def _fill(connection: sa.Connection, tables: Tables, key: int, study: Study) -> None:
    """Writes what a study consists of, but for its trials."""
    goals, own, system = (tables[f"study_{kind}"] for kind in ("directions", "user_attributes", "system_attributes"))
    connection.execute(goals.delete().where(goals.c.study_id == key))
    connection.execute(
        goals.insert(),
        [{"study_id": key, "objective": place, "direction": goal.name} for place, goal in enumerate(study.directions)],
    )
    connection.execute(own.delete().where(own.c.study_id == key))
    attributes = {MARK: study.identity, **study.attributes}
    connection.execute(own.insert(), _attribute_rows({"study_id": key}, attributes))
    connection.execute(system.delete().where(system.c.study_id == key, system.c.key == METRICS))
    connection.execute(system.insert(), _attribute_rows({"study_id": key}, {METRICS: list(study.metrics)}))


def _make_trials(
    connection: sa.Connection, tables: Tables, study: int, trials: Sequence[FrozenTrial]
) -> dict[int, int]:
    """Writes the trials anew without what they consist of; returns their ids by number."""
    table = tables["trials"]
    numbered = sa.select(table.c.number, table.c.trial_id).where(table.c.study_id == study)
    known = {number: key for number, key in connection.execute(numbered)}
    own = sa.select(table.c.trial_id).where(table.c.study_id == study)
    for name in CHILDREN:
        connection.execute(tables[name].delete().where(tables[name].c.trial_id.in_(own)))
    connection.execute(table.delete().where(table.c.study_id == study))
    rows = [_trial_row(study, trial) for trial in trials]
    old = [{**row, "trial_id": known[row["number"]]} for row in rows if row["number"] in known]
    new = [row for row in rows if row["number"] not in known]
    for some in (old, new):
        if some:
            connection.execute(table.insert(), some)
    return {number: key for number, key in connection.execute(numbered)}


def _trial_row(study: int, trial: FrozenTrial) -> dict[str, Any]:
    """Times are kept without their zone, which is UTC."""
    began, ended = (
        None if at is None else at.replace(tzinfo=None) for at in (trial.datetime_start, trial.datetime_complete)
    )
    return {
        "study_id": study,
        "number": trial.number,
        "state": trial.state.name,
        "datetime_start": began,
        "datetime_complete": ended,
    }


def _rows(trials: Iterable[FrozenTrial], ids: Mapping[int, int]) -> Rows:
    rows: Rows = {name: [] for name in CHILDREN}
    for trial in trials:
        at = {"trial_id": ids[trial.number]}
        rows["trial_params"] += [
            {
                **at,
                "param_name": name,
                "param_value": trial.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(trial.distributions[name]),
            }
            for name, value in trial.params.items()
        ]
        rows["trial_values"] += [
            {**at, "objective": place, "value": value, "value_type": "FINITE"}
            for place, value in enumerate(trial.values or ())
        ]
        rows["trial_intermediate_values"] += [
            {
                **at,
                "step": step,
                "intermediate_value": None if math.isnan(value) else value,
                "intermediate_value_type": "NAN" if math.isnan(value) else "FINITE",
            }
            for step, value in trial.intermediate_values.items()
        ]
        rows["trial_user_attributes"] += _attribute_rows(at, trial.user_attrs)
        rows["trial_system_attributes"] += _attribute_rows(at, trial.system_attrs)
    return rows


def _attribute_rows(of: Mapping[str, int], attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{**of, "key": key, "value_json": json.dumps(value)} for key, value in attributes.items()]


def _said(error: Exception) -> str:
    return " ".join(str(getattr(error, "orig", None) or error).split())
