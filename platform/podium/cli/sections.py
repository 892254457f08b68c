"""The list of commands in `podium --help`, under headings."""

import click

SECTIONS = {
    "Launch": ("launch", "resume", "check", "lr", "data"),
    "Look": ("list", "status", "watch", "logs", "compare", "inside", "ledger", "ui", "board", "report", "export"),
    "Steer": ("stop", "enqueue", "extend", "sync"),
    "Promote": ("promote", "rollback", "history", "reproduce", "predict", "serve"),
    "Set up": ("doctor", "up", "cluster", "targets", "schema", "completion"),
}
"""By heading its commands, in the order in which one meets them."""


class Sections(click.Group):
    """A group whose help lists its commands under headings; those of no section come last."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes a list of commands for each heading."""
        shown = {name for name, command in self.commands.items() if not command.hidden}
        rest = sorted(shown - {name for names in SECTIONS.values() for name in names})
        width = max(map(len, shown))
        for heading, names in {**SECTIONS, "More": rest}.items():
            there = [name for name in names if name in shown]
            limit = formatter.width - 6 - width
            rows = [(f"{name:<{width}}", self.commands[name].get_short_help_str(limit)) for name in there]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
