"""Positions of boxes and arrows in the drawing of a task instance's DAG.

Each layer holds the subtasks of equal depth and takes one column. Rows of layers alternate in direction: a chain of
twelve fits the page as three rows of four. Lengths are in units of the drawing, CSS pixels at its original size.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from service.model.tasks import Subtask

BOX_WIDTH = 258
BASE_HEIGHT, LINE_HEIGHT = 50, 18  # a box without lines of its name; one line
LINE_LENGTH = 24  # characters of a name in one line
COLUMN_GAP, ROW_GAP = 40, 44  # between two boxes
MARGIN = 8
ARROW_LENGTH = 7


@dataclass(frozen=True, kw_only=True)
class Box:
    """The box of a subtask; `x`, `y` are its upper left corner, `lines` is its name."""

    subtask: Subtask
    lines: Sequence[str]
    x: int
    y: int
    height: int


@dataclass(frozen=True, kw_only=True)
class Edge:
    """The arrow to `target`, from the subtask before it: line and head, each the `d` of an SVG path."""

    target: Subtask
    line: str
    head: str


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """The drawing of a DAG."""

    width: int
    height: int
    boxes: Sequence[Box]
    edges: Sequence[Edge]


def draw(subtasks: Sequence[Subtask], columns: int, *, backward: bool = False) -> Drawing:
    """Draw the DAG of `subtasks`, at least one, which are in topological order, with at most `columns` layers per row.

    The arrows of a rollback, which is `backward`, lead from each subtask to its upstreams.
    """
    names = {subtask.id: textwrap.wrap(subtask.name, LINE_LENGTH) for subtask in subtasks}
    box_height = BASE_HEIGHT + LINE_HEIGHT * max(map(len, names.values()))
    layers = layers_of(subtasks)
    rows = [layers[start : start + columns] for start in range(0, len(layers), columns)]
    boxes: dict[int, Box] = {}
    top = MARGIN
    for number, row in enumerate(rows):
        tallest = max(map(len, row))
        for column, layer in enumerate(row):
            position = column if number % 2 == 0 else columns - 1 - column
            for index, subtask in enumerate(layer):
                offset = (tallest - len(layer)) * (box_height + ROW_GAP) // 2
                y = top + offset + index * (box_height + ROW_GAP)
                x = MARGIN + position * (BOX_WIDTH + COLUMN_GAP)
                boxes[subtask.id] = Box(subtask=subtask, lines=names[subtask.id], x=x, y=y, height=box_height)
        top += tallest * (box_height + ROW_GAP)
    pairs = [(boxes[upstream], boxes[s.id]) for s in subtasks for upstream in s.upstreams if upstream in boxes]
    used_columns = min(columns, len(layers))
    return Drawing(
        width=2 * MARGIN + used_columns * BOX_WIDTH + (used_columns - 1) * COLUMN_GAP,
        height=top - ROW_GAP + MARGIN,
        boxes=list(boxes.values()),
        edges=[_edge(after, before) if backward else _edge(before, after) for before, after in pairs],
    )


def layers_of(subtasks: Sequence[Subtask]) -> list[list[Subtask]]:
    """Group the subtasks by depth, the length of the longest path to them."""
    depths = _depths(subtasks)
    layers: list[list[Subtask]] = [[] for _ in range(max(depths.values()) + 1)]
    for subtask in subtasks:
        layers[depths[subtask.id]].append(subtask)
    return layers


def _depths(subtasks: Sequence[Subtask]) -> Mapping[int, int]:
    depths: dict[int, int] = {}
    for subtask in subtasks:
        depths[subtask.id] = 1 + max((depths.get(upstream, -1) for upstream in subtask.upstreams), default=-1)
    return depths


def _edge(source: Box, target: Box) -> Edge:
    if source.x == target.x:  # vertical
        x, down = source.x + BOX_WIDTH // 2, source.y < target.y
        y = source.y + source.height if down else source.y
        end = target.y - ARROW_LENGTH if down else target.y + target.height + ARROW_LENGTH
        head = f"M{x - 5} {end}h10l-5 {ARROW_LENGTH if down else -ARROW_LENGTH}z"
        return Edge(target=target.subtask, line=f"M{x} {y}V{end}", head=head)
    rightward = source.x < target.x
    start_x = source.x + (BOX_WIDTH if rightward else 0)
    end_x = target.x + (-ARROW_LENGTH if rightward else BOX_WIDTH + ARROW_LENGTH)
    start_y, end_y = source.y + source.height // 2, target.y + target.height // 2
    middle = (start_x + end_x) // 2
    head = f"M{end_x} {end_y - 5}v10l{ARROW_LENGTH if rightward else -ARROW_LENGTH} -5z"
    return Edge(
        target=target.subtask,
        line=f"M{start_x} {start_y}C{middle} {start_y} {middle} {end_y} {end_x} {end_y}",
        head=head,
    )
