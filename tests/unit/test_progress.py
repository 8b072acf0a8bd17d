"""The progress line of a test session."""

from tests.progress import Progress

IDS = [*(f"tests/lab/test_a.py::test_{n}" for n in range(10)), *(f"tests/unit/test_b.py::test_{n}" for n in range(100))]


def progress() -> Progress:
    begun = Progress()
    begun.expect(IDS)
    return begun


def test_no_estimate_without_a_test() -> None:
    assert progress().line(5) == "0:05: lab 0 of 10, unit 0 of 100"


def test_each_folder_has_its_own_pace() -> None:
    begun = progress()
    for phase in ("setup", "call", "teardown"):
        begun.add(IDS[0], 10, ended=phase == "teardown")
    for node_id in IDS[10:60]:
        begun.add(node_id, 0.2, ended=True)
    # 40 s of tests in 20 s: two run at the same time. Left are 9 of 30 s and 50 of 0.2 s.
    assert begun.seconds_left(20) == (9 * 30 + 50 * 0.2) / 2
    assert begun.line(20) == "0:20: lab 1 of 10, unit 50 of 100; about 2:20 left"


def test_a_folder_without_a_pace_takes_that_of_all() -> None:
    begun = progress()
    begun.add(IDS[0], 3, ended=True)
    assert begun.seconds_left(3) == 109 * 3


def test_tests_outside_of_a_folder_count_by_their_file() -> None:
    begun = Progress()
    begun.expect(["tests/test_c.py::test_1", "tests/lab/chaos/test_d.py::test_1[tests/unit/x.py::y]"])
    assert set(begun.folders) == {"test_c.py", "lab"}
