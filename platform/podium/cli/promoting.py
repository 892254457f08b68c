"""Commands that move the champion, and tell of it."""

import sys
from datetime import datetime
from typing import Any

import click

from podium.cli.options import EXIT_CODES, placed, with_json
from podium.cli.output import print_done, print_json, table
from podium.errors import SpecError
from podium.wiring.place import Place

LISTS = ("floors", "slices")
"""The gates that are lists of comparisons."""


@click.command(epilog="Exit codes: 0 promoted, 3 refused or undecided, 2 user error, 1 failed, 75 interrupted.")
@click.argument("name")
@click.option("--model", help="The registered model whose champion is challenged. Default: NAME")
@click.option("--finalists", type=int, help="How many of the best trials are trained again. Default: 3")
@click.option("--seeds", type=int, help="With how many fresh seeds each. Default: 5")
@click.option("--per-signature", is_flag=True, default=None, help="Finalists differ in structure.")
@click.option("--ship", help="best, ensemble or average: which of the chosen finalist's weights. Default: best")
@click.option("--train-on", help="train, or train+validation: once more on both, with epochs fixed. Default: train")
@click.option("--gate", "gates", multiple=True, help="KEY=VALUE, a setting of promotion.gates; may be repeated.")
@click.option("--anew", is_flag=True, help="Begin another promotion even if one was cut off.")
@click.option("--dry-run", is_flag=True, help="Say what would be trained and judged, and do none of it.")
@placed
@with_json
def promote(
    name: str,
    gates: tuple[str, ...],
    model: str | None,
    anew: bool,
    dry_run: bool,
    place: Place,
    as_json: bool,
    **given: Any,
) -> None:
    """Promote the best of the sweep NAME, if the evidence says so.

    Its best trials are trained again from scratch with fresh seeds. The one that is best on validation over those is
    registered, reads the test split, and is compared with the champion on the same samples. If every gate is passed,
    it gets the alias `champion`; otherwise the old champion stays, and the model card says why.

    podium promote digits --gate 'floors=[accuracy >= 0.95]' --gate latency_p99_ms=50

    A promotion of NAME that was cut off goes on as it was begun, whatever the options are now.
    """
    from podium.console import Terminal
    from podium.wiring import plans, promotions, tracker

    settings: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    if gates:
        settings["gates"] = _gates(gates)
    if dry_run:
        tracker.require_answer(place.tracking_uri)
        found = None if anew else plans.find_open(place, name)
        planned = plans.forecast(found or plans.make_plan(place, name, model, settings))
        print_json(planned) if as_json else _print_plan(planned)
        return
    with Terminal().opened() as terminal:
        done = promotions.promote(place, name, terminal, model=model, settings=settings, anew=anew)
    print_json(done) if as_json else _print_verdict(done)
    sys.exit(promotions.EXIT_CODES[done["verdict"]])


@click.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def rollback(name: str, place: Place, as_json: bool) -> None:
    """Give the alias `champion` of the model NAME back to the version that had it before."""
    from podium.wiring import champions

    print_done(champions.rollback(place, name), as_json)


@click.command(epilog=EXIT_CODES)
@click.argument("name")
@placed
@with_json
def history(name: str, place: Place, as_json: bool) -> None:
    """Show what happened to the champion of the model NAME: who, when, why, and on what evidence."""
    from podium.wiring import champions

    told = champions.history(place, name)
    if as_json:
        print_json({"model": name, "history": told})
    elif not told:
        click.echo(f"the model {name} has had no champion, and no promotion was judged")
    else:
        rows = [(datetime.fromtimestamp(each["at"]).strftime("%Y-%m-%d %H:%M"), *_said(each)) for each in told]
        table(("when", "version", "what", "who", "why"), rows)


def _gates(texts: tuple[str, ...]) -> dict[str, Any]:
    """Settings of the gates; those that are lists take what is given again, too."""
    from podium.spec.files import parse_value

    gates: dict[str, Any] = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not separator:
            raise SpecError(f"{text!r} is no gate; write KEY=VALUE, such as level=0.99 or floors=[accuracy >= 0.9]")
        if key in LISTS:
            gates[key] = gates.get(key, []) + (parse_value(value) if value.startswith("[") else [value])
        elif key in gates:
            raise SpecError(f"--gate {key} is given twice: {gates[key]!r} and {value!r}")
        else:
            gates[key] = parse_value(value)
    return gates


def _print_plan(plan: dict[str, Any]) -> None:
    from podium.drawing.words import duration, short

    champion = f"version {plan['champion']}" if plan["champion"] else "none yet"
    lines = [
        ("promotion", f"{plan['promotion']}, of sweep {plan['sweep']}"),
        ("model", f"{plan['model']}, champion {champion}"),
        ("trainings", f"{len(plan['finalists'])} finalists, {plan['seeds']} fresh seeds each: {plan['trainings']}"),
        ("time", f"about {duration(plan['device_s'])} of one gang's, less in stacks"),
        ("test split", f"{plan['test']['samples']:,} samples, reading {plan['test']['reading']}"),
    ]
    for each in plan["finalists"]:
        lines.append((f"trial {each['trial']}", f"reported {short(each['reported'])}"))
    for key, value in lines:
        click.echo(f"{key:>10}  {value}")
    click.echo("Nothing was done; leave --dry-run out to do it.")


def _print_verdict(done: dict[str, Any]) -> None:
    click.echo(f"{done['model']} version {done['version']} is {done['verdict']}")
    for reason in done["reasons"]:
        click.echo(f"  - {reason}")
    for each in done["evidence"]["finalists"]:
        if each["chosen"] and each["interval"] and each["optimism"] is not None:
            mean = each["interval"]["estimate"]
            click.echo(
                f"The sweep reported {each['reported']:.4g} for trial {each['trial']}; its fresh seeds give {mean:.4g} "
                f"on average"
            )
    stays = f"version {done['previous']} stays" if done["previous"] else "there is none yet"
    click.echo("It is the champion now" if done["verdict"] == "promoted" else f"Champion: {stays}")
    click.echo(f"Card: {done['card']}")


def _said(each: dict[str, Any]) -> tuple[str, str, str, str]:
    if each["what"] == "judged":
        return each["version"], each["verdict"], each["evidence"].get("by", ""), "; ".join(each["reasons"])
    why = {"promotion": f"promotion {each['promotion']}", "rollback": "rollback", "found": "alias was moved"}
    return each["version"], "champion", each["by"], why[each["how"]]


COMMANDS = (promote, rollback, history)
