"""Figures gathered over rounds, and tables of them: Markdown that reads as text."""

import statistics
from collections import defaultdict


class Figures:
    """What was measured, by subject and measure: a value for each round."""

    def __init__(self):
        self.values = defaultdict(lambda: defaultdict(list))

    def add(self, subject, measures):
        for measure, value in measures.items():
            self.values[subject][measure].append(value)

    def median(self, subject, measure):
        values = self.values[subject].get(measure)
        return statistics.median(values) if values else None

    def cell(self, subject, measure, scale=1, digits=0):
        """Median, and in brackets the least and the greatest; empty where nothing was measured."""
        values = self.values[subject].get(measure)
        if not values:
            return ""
        low, middle, high = (
            f"{value * scale:,.{digits}f}" for value in (min(values), statistics.median(values), max(values))
        )
        return f"{middle} ({low}–{high})"


def table(head, rows):
    """The first column flush left, the others right."""
    cells = [head] + rows
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row):
        padded = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(line(row) for row in [head, rule, *rows])
