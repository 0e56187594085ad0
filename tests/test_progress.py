"""What long functions tell of how far they are."""

from giblet.progress import in_units_of


def test_work_in_another_unit_is_told_in_that_of_the_whole():
    told = []
    tell = in_units_of(lambda done, total: told.append((done, total)), 90.0)
    tell(0, 4)
    tell(1, 4)
    tell(4, 4)
    tell(0, 0)
    tell(3, None)
    assert told == [(0, 90), (22.5, 90), (90, 90), (0, 90), (0, 90)]


def test_without_a_callback_there_is_nothing_to_tell():
    assert in_units_of(None, 90.0) is None
