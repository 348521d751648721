"""Where an error was raised."""

import json
import re

from installation.runtime.tracebacks import error_location


def test_the_location_is_where_the_error_was_raised_not_where_it_was_caught():
    try:
        json.loads("{secret")
    except ValueError as error:
        location = error_location(error)
    assert re.fullmatch(r"decoder\.py:\d+", location)


def test_an_error_that_was_never_raised_has_no_location():
    assert error_location(ValueError("secret")) == "unknown location"
