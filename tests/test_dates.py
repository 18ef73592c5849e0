from datetime import UTC, date, datetime

import pytest

from interleave_index.dates import moment
from interleave_index.errors import InputError


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("2024", datetime(2024, 1, 1)),
        (2024, datetime(2024, 1, 1)),
        ("202407", datetime(2024, 7, 1)),
        ("20240731", datetime(2024, 7, 31)),
        (20240731, datetime(2024, 7, 31)),
        ("2024-07", datetime(2024, 7, 1)),
        (" 2024-7-3 ", datetime(2024, 7, 3)),
        ("2024:07:31 18:30:05", datetime(2024, 7, 31, 18, 30, 5)),
        ("2024-07-31T18:30", datetime(2024, 7, 31, 18, 30)),
        ("2024-07-31T18:30:05.25", datetime(2024, 7, 31, 18, 30, 5)),
        (date(2024, 7, 31), datetime(2024, 7, 31)),
        (datetime(2024, 7, 31, 18), datetime(2024, 7, 31, 18)),
        (None, None),
    ],
)
def test_every_form_means_its_first_moment(given, meant):
    assert moment(given) == meant


@pytest.mark.parametrize("given", ["2024-07-31T18:30Z", "2024-07-31T18:30:00+02:00", datetime(2024, 7, 1, tzinfo=UTC)])
def test_a_zone_is_refused_in_words(given):
    with pytest.raises(InputError, match=r"--after is .* with a time zone"):
        moment(given, "--after")


@pytest.mark.parametrize(
    "given", ["", "yesterday", "24", "20247", "1720000000", "2024-13", "2024-02-30", "2024-07/31", 3.5, True, []]
)
def test_what_is_no_date_is_an_error_of_input(given):
    with pytest.raises(InputError, match="date"):
        moment(given)
