"""Where the subtasks of a task instance stand when its DAG is drawn: layers from their upstreams, folded to fit.

A chain of twelve is easier to take in as three rows of four than as a ladder; so layers go to the right, then down and
back to the left, and so on. Lengths are in the drawing's own units, CSS pixels at its natural size.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.model.tasks import Subtask

WIDTH, HEIGHT = 258, 68  # of a box
ACROSS, DOWN = 40, 44  # between two boxes
MARGIN = 8
ARROW = 7  # length of an arrow's head


@dataclass(frozen=True, kw_only=True)
class Box:
    """A subtask at its place; `x`, `y` are its upper left corner."""

    subtask: Subtask
    x: int
    y: int


@dataclass(frozen=True, kw_only=True)
class Edge:
    """A path from an upstream to `target`, and the head of its arrow; both as an SVG path's `d`."""

    target: Subtask
    line: str
    head: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A whole DAG."""

    width: int
    height: int
    boxes: Sequence[Box]
    edges: Sequence[Edge]


def draw(subtasks: Sequence[Subtask], columns: int) -> Drawing:
    """The DAG of `subtasks`, which stand in an order of it, with at most `columns` layers beside each other."""
    layers = layers_of(subtasks)
    rows = [layers[start : start + columns] for start in range(0, len(layers), columns)]
    boxes: dict[int, Box] = {}
    top = MARGIN
    for number, row in enumerate(rows):
        tallest = max(map(len, row))
        for column, layer in enumerate(row):
            place = column if number % 2 == 0 else columns - 1 - column
            for index, subtask in enumerate(layer):
                offset = (tallest - len(layer)) * (HEIGHT + DOWN) // 2
                y = top + offset + index * (HEIGHT + DOWN)
                boxes[subtask.id] = Box(subtask=subtask, x=MARGIN + place * (WIDTH + ACROSS), y=y)
        top += tallest * (HEIGHT + DOWN)
    across = min(columns, len(layers))
    return Drawing(
        width=2 * MARGIN + across * WIDTH + (across - 1) * ACROSS,
        height=top - DOWN + MARGIN,
        boxes=list(boxes.values()),
        edges=[_edge(boxes[upstream], boxes[s.id]) for s in subtasks for upstream in s.upstreams if upstream in boxes],
    )


def layers_of(subtasks: Sequence[Subtask]) -> list[list[Subtask]]:
    """The subtasks by how many others must be done before them, at the longest."""
    depths = _depths(subtasks)
    layers: list[list[Subtask]] = [[] for _ in range(max(depths.values(), default=-1) + 1)]
    for subtask in subtasks:
        layers[depths[subtask.id]].append(subtask)
    return layers


def _depths(subtasks: Sequence[Subtask]) -> Mapping[int, int]:
    depths: dict[int, int] = {}
    for subtask in subtasks:
        depths[subtask.id] = 1 + max((depths.get(upstream, -1) for upstream in subtask.upstreams), default=-1)
    return depths


def _edge(source: Box, target: Box) -> Edge:
    if source.x == target.x:  # straight down
        x, y = source.x + WIDTH // 2, source.y + HEIGHT
        end = target.y - ARROW
        head = f"M{x - 5} {end}h10l-5 {ARROW}z"
        return Edge(target=target.subtask, line=f"M{x} {y}V{end}", head=head)
    rightward = source.x < target.x
    start_x = source.x + (WIDTH if rightward else 0)
    end_x = target.x + (-ARROW if rightward else WIDTH + ARROW)
    start_y, end_y = source.y + HEIGHT // 2, target.y + HEIGHT // 2
    middle = (start_x + end_x) // 2
    head = f"M{end_x} {end_y - 5}v10l{ARROW if rightward else -ARROW} -5z"
    return Edge(
        target=target.subtask,
        line=f"M{start_x} {start_y}C{middle} {start_y} {middle} {end_y} {end_x} {end_y}",
        head=head,
    )
