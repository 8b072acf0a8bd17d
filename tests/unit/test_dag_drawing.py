"""Drawing of a DAG: positions of the boxes, and arrows from box to box."""

import re
from collections.abc import Sequence

import pytest

from service.model.tasks import Subtask
from service.pages import dag_drawing
from tests.unit.records import subtask


def dag(*upstreams: Sequence[int]) -> list[Subtask]:
    """Return a DAG whose subtasks have these upstreams; ids start at 1."""
    return [subtask(id=number, upstreams=tuple(above)) for number, above in enumerate(upstreams, 1)]


CHAIN = dag((), *((number,) for number in range(1, 12)))
DIAMOND = dag((), (1,), (1,), (2, 3))


@pytest.mark.parametrize("columns", [1, 2, 4, 6, 12, 20])
@pytest.mark.parametrize("subtasks", [CHAIN, DIAMOND, dag(())], ids=["chain", "diamond", "one"])
def test_boxes_do_not_overlap_and_are_inside_the_drawing(subtasks: list[Subtask], columns: int) -> None:
    drawing = dag_drawing.draw(subtasks, columns)

    assert [box.subtask.id for box in drawing.boxes] == [subtask.id for subtask in subtasks]
    for index, box in enumerate(drawing.boxes):
        assert 0 <= box.x <= drawing.width - dag_drawing.BOX_WIDTH and 0 <= box.y <= drawing.height - box.height
        for other in drawing.boxes[index + 1 :]:
            beside = abs(box.x - other.x) >= dag_drawing.BOX_WIDTH + dag_drawing.COLUMN_GAP
            assert beside or abs(box.y - other.y) >= box.height + dag_drawing.ROW_GAP


def test_rows_of_a_chain_alternate_in_direction() -> None:
    boxes = dag_drawing.draw(CHAIN, 4).boxes

    assert [box.x for box in boxes[:4]] == sorted(box.x for box in boxes[:4])
    assert [box.x for box in boxes[4:8]] == sorted((box.x for box in boxes[4:8]), reverse=True)
    assert boxes[3].x == boxes[4].x and boxes[7].x == boxes[8].x
    assert boxes[0].y < boxes[4].y < boxes[8].y


def test_an_incomplete_row_starts_below_the_end_of_the_previous_row() -> None:
    boxes = dag_drawing.draw(CHAIN[:6], 4).boxes

    assert boxes[4].x == boxes[3].x
    assert boxes[5].x == boxes[2].x


@pytest.mark.parametrize("columns", [1, 4])
def test_arrows_lead_from_box_to_box(columns: int) -> None:
    drawing = dag_drawing.draw(CHAIN, columns)
    boxes = {box.subtask.id: box for box in drawing.boxes}

    assert [edge.target.id for edge in drawing.edges] == list(range(2, 13))
    for edge in drawing.edges:
        source, target = boxes[edge.target.id - 1], boxes[edge.target.id]
        start, tip = points(edge.line)[0], tip_of(edge.head)
        assert on_border(source, start)
        assert on_border(target, tip)


@pytest.mark.parametrize("columns", [1, 4])
def test_arrows_of_a_rollback_lead_backward(columns: int) -> None:
    drawing = dag_drawing.draw(CHAIN, columns, backward=True)
    boxes = {box.subtask.id: box for box in drawing.boxes}

    assert [edge.target.id for edge in drawing.edges] == list(range(1, 12))
    for edge in drawing.edges:
        assert on_border(boxes[edge.target.id + 1], points(edge.line)[0])
        assert on_border(boxes[edge.target.id], tip_of(edge.head))


def test_a_long_name_is_shown_in_full() -> None:
    name = "Set the password of the OBProxy user for the agent and the exporter of the host"
    first, second = dag_drawing.draw([subtask(id=1, name=name), subtask(id=2, name="Finish")], 4).boxes

    assert " ".join(first.lines) == name
    assert all(len(line) <= dag_drawing.LINE_LENGTH for line in first.lines)
    assert first.height == second.height > dag_drawing.BASE_HEIGHT + dag_drawing.LINE_HEIGHT


def test_branches_are_drawn_side_by_side_between_fork_and_join() -> None:
    drawing = dag_drawing.draw(DIAMOND, 4)
    fork, left, right, join = drawing.boxes

    assert fork.x < left.x == right.x < join.x
    assert left.y < fork.y == join.y < right.y
    assert len(drawing.edges) == 4
    assert [len(layer) for layer in dag_drawing.layers_of(DIAMOND)] == [1, 2, 1]


def test_boxes_and_arrows_of_two_columns() -> None:
    """The first row leads to the right, the second one back, and a rollback the other way round."""
    forward = dag_drawing.draw(CHAIN[:5], 2)
    backward = dag_drawing.draw(CHAIN[:5], 2, backward=True)

    assert (forward.width, forward.height) == (8 + 258 + 40 + 258 + 8, 8 + 3 * 68 + 2 * 44 + 8)
    assert [(box.x, box.y, box.height) for box in forward.boxes] == [
        *((8, 8, 68), (306, 8, 68)),
        *((306, 120, 68), (8, 120, 68)),
        (8, 232, 68),
    ]
    assert forward.boxes == backward.boxes
    assert [edge.line for edge in forward.edges] == [
        *("M266 42C282 42 282 42 299 42", "M435 76V113", "M306 154C289 154 289 154 273 154", "M137 188V225")
    ]
    assert [edge.line for edge in backward.edges] == [
        *("M306 42C289 42 289 42 273 42", "M435 120V83", "M266 154C282 154 282 154 299 154", "M137 232V195")
    ]


def test_a_fork_is_in_the_middle_of_its_branches() -> None:
    drawing = dag_drawing.draw(DIAMOND, 4)

    assert [box.y for box in drawing.boxes] == [64, 8, 120, 64]
    assert drawing.edges[0].line == "M266 98C282 98 282 42 299 42"


def test_a_subtask_whose_upstream_is_not_drawn_is_in_the_first_layer() -> None:
    subtasks = [subtask(id=2, upstreams=(1,)), subtask(id=3, upstreams=(2,))]
    assert dag_drawing.layers_of(subtasks) == [[subtasks[0]], [subtasks[1]]]


def test_a_line_of_a_name_has_24_characters_at_most() -> None:
    (box,) = dag_drawing.draw([subtask(id=1, name=f"{'a' * 12} {'b' * 11} {'c' * 12} {'d' * 12}")], 1).boxes
    assert [len(line) for line in box.lines] == [24, 12, 12]


def points(path: str) -> list[tuple[int, int]]:
    numbers = [int(number) for number in re.findall(r"-?\d+", path)]
    return list(zip(numbers[::2], numbers[1::2], strict=False))


def tip_of(head: str) -> tuple[int, int]:
    """Return the tip of an arrow head, an SVG path `M x y, h or v 10, l dx dy`."""
    found = re.fullmatch(r"M(-?\d+) (-?\d+)([hv])10l(-?\d+) (-?\d+)z", head)
    assert found
    x, y, way, dx, dy = int(found[1]), int(found[2]), found[3], int(found[4]), int(found[5])
    return (x + 10 + dx if way == "h" else x + dx), (y + dy if way == "h" else y + 10 + dy)


def on_border(box: dag_drawing.Box, point: tuple[int, int]) -> bool:
    x, y = point[0] - box.x, point[1] - box.y
    across = x in (0, dag_drawing.BOX_WIDTH) and y == box.height // 2
    return across or (y in (0, box.height) and x == dag_drawing.BOX_WIDTH // 2)
