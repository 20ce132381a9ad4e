"""Figures gathered over rounds, and tables of them: Markdown that reads as text."""

import statistics
from collections import defaultdict


class Figures:
    """What was measured, by subject: for each round the value of each measure."""

    def __init__(self):
        self.rounds = defaultdict(list)

    def add(self, subject, measures):
        self.rounds[subject].append(measures)

    def values(self, subject, measure, scale=1):
        return [figures[measure] * scale for figures in self.rounds.get(subject, []) if measure in figures]

    def ratios(self, above, below, measure, below_measure=None):
        """For each round the ratio of the two; of several subjects below the greatest value counts."""
        below = below if isinstance(below, list) else [below]
        below_measure = below_measure or measure
        ratios = []
        for figures, *others in zip(*(self.rounds.get(subject, []) for subject in [above, *below])):
            if measure in figures and all(below_measure in other for other in others):
                ratios.append(figures[measure] / max(other[below_measure] for other in others))
        return ratios

    def cell(self, subject, measure, scale=1, digits=0):
        return cell(self.values(subject, measure, scale), digits)


def cell(values, digits=0):
    """Median, and in brackets the least and the greatest; empty where nothing was measured."""
    if not values:
        return ""
    low, middle, high = (f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low}–{high})"


def table(head, rows):
    """The first column flush left, the others right."""
    cells = [head] + rows
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]

    def line(row):
        padded = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:])]
        return "| " + " | ".join(padded) + " |"

    rule = ["-" * widths[0]] + ["-" * (width - 1) + ":" for width in widths[1:]]
    return "\n".join(line(row) for row in [head, rule, *rows])


LOAD = ["requests/s", "p50, ms", "p99, ms", "own CPU, µs/request", "PostgreSQL's", "nginx's"]


def load_cells(figures, subject):
    """The cells under LOAD."""
    return [
        figures.cell(subject, "rate"),
        figures.cell(subject, "p50", 1e-3, 2),
        figures.cell(subject, "p99", 1e-3, 2),
        figures.cell(subject, "cpu program"),
        figures.cell(subject, "cpu PostgreSQL"),
        figures.cell(subject, "cpu nginx"),
    ]
