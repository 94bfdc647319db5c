"""The line of the user's code that raised an error."""

import pickle

import pytest

from dlskills import SGD, make_optimizer
from dlskills.users_code import note_users_line, of_users_code, users_line


def raised(work):
    with pytest.raises(Exception) as caught:  # noqa: PT011 - its traceback is what is tested
        work()
    return caught.value


def own_error():
    raise ValueError("mine")


def calls_the_library():
    SGD(lr="fast")


@pytest.mark.parametrize(
    ("work", "code"),
    [(own_error, 'raise ValueError("mine")'), (calls_the_library, 'SGD(lr="fast")')],
)
def test_the_innermost_line_outside_the_library_is_named(work, code):
    file, _, line = users_line(raised(work)).rpartition(".py:")
    assert file + ".py" == __file__
    assert line.partition(": ")[2] == code


def test_an_error_of_the_library_alone_has_none():
    error = raised(lambda: make_optimizer("nosuch"))
    while error.__traceback__.tb_frame.f_code.co_filename == __file__:
        error.__traceback__ = error.__traceback__.tb_next
    note_users_line(error)
    assert users_line(error) is None
    assert not of_users_code(error)


def test_the_note_reaches_other_processes_and_is_written_once():
    error = raised(own_error)
    note_users_line(error)
    note_users_line(error)
    received = pickle.loads(pickle.dumps(error))
    assert of_users_code(received)
    assert len(received.__notes__) == 1
