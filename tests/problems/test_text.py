"""Numbers as text: tables as spreadsheets and pandas write them, JSON, arrays in C."""

import json
import re

import numpy as np
import pytest

from rnnparity.errors import UsageError
from rnnparity.problems.saved import read_saved
from rnnparity.problems.text import read

VALUES = np.array([[0.5, -1.25, 3e-5], [0, 7, -0.1]])
C = """/* made by a port */
#include <math.h>
static const float y[2][3] = {
    {0.5f, -1.25f, 3e-5f}, // the first row [0]
    {0.f, 7.0F, -.1f},
};
"""


def _values(text):
    found = read(text)
    assert list(found) == [""] or len(found) == 1
    (words,) = found.values()
    return np.array(words.words, np.float64).reshape(words.shape)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VALUES.tolist()),
        json.dumps({"output": VALUES.tolist()}),
        C,
        C.replace("[2][3]", "[]"),
        "double y[] = {{.5, -1.25, 3e-05}, {0, 7, -0.1}};",
        f"y = np.array({VALUES.tolist()}, dtype=np.float32)",
        f"array({VALUES.tolist()})",
        f"tensor({VALUES.tolist()}, grad_fn=<TanhBackward0>)",
        str(VALUES),
        "y = [0.5 -1.25 3e-05;\n0 7 -0.1];",
        "let y: [[f32; 3]; 2] = [[0.5, -1.25, 3e-5], [0.0, 7.0, -0.1]];",
        "float[][] y = new float[][] {{0.5f, -1.25f, 3e-5f}, {0f, 7f, -0.1f}};",
        "var y = [][]float32{{0.5, -1.25, 3e-5}, {0, 7, -0.1}}",
        "[0.5, -1.25, 3e-05]\n[0.0, 7, -0.1]\n",
        "0,5 -1,25 3e-05\n0 7 -0,1\n",
        ",0,1,2\n0,0.5,-1.25,3e-05\n1,0.0,7.0,-0.1\n",
        ",a,b,c\n0,0.5,-1.25,3e-05\n1,0.0,7.0,-0.1\n",
        "0,1,2\n0.5,-1.25,3e-05\n0.0,7.0,-0.1\n",
    ],
)
def test_what_people_write_is_read(text):
    np.testing.assert_array_equal(_values(text), VALUES)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("0,50\n-0,25\n1,05\n", [[0.5], [-0.25], [1.05]]),
        ("y\n0,50\n-0,25\n", [[0.5], [-0.25]]),
        ("0,5\n3,25\n", [[0, 5], [3, 25]]),  # may be integers: taken as they stand
        ("0,1e-9\n", [[0, 1e-9]]),
        ("0,1\n0,5\n", [[0, 1], [0, 5]]),  # integers below integers are no heading
        ('{"0": 0.5, "1": 0.25}', [0.5, 0.25]),
        ('{"dtype": "float32", "y": [{"0": 0.5, "1": 0.25}]}', [[0.5, 0.25]]),
        ("1.#QNAN,1.#INF\n-1.#IND,-1.#INF00\n", [[np.nan, np.inf], [np.nan, -np.inf]]),
        ("nan(ind) -nan(snan) 1", [[np.nan, np.nan, 1]]),
        ("float y[] = {NAN, -INFINITY, 1.0f};", [np.nan, -np.inf, 1]),
    ],
)
def test_what_can_be_read_in_two_ways_is_not_guessed(text, values):
    np.testing.assert_array_equal(_values(text), values)


def test_several_arrays_are_told_by_name(tmp_path):
    path = tmp_path / "port.h"
    path.write_text("float x[2] = {1.0f, 2.0f};\nfloat y[1][2] = {{0.5f, 0.25f}};\n")
    np.testing.assert_array_equal(read_saved(path, "output").values, [[0.5, 0.25]])
    np.testing.assert_array_equal(read_saved(path, "x").values, [1, 2])


@pytest.mark.parametrize(
    ("text", "note"),
    [
        (",0,1\n0,0.5,0.25\n", "its first column, the numbers of rows, is left out"),
        ("0,1\n0.5,0.25\n", "its first line, the numbers of columns, is left out"),
        ("-0,5\n0,25\n", "its commas are read as decimal ones"),
        ("0.5,0.25\n", ""),
    ],
)
def test_what_is_taken_for_granted_is_said(text, note):
    assert read(text)[""].note == note


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[[1, 2], [3]]", "rows of 1 and of 2 in its brackets"),
        ("[[1, 2], 3]", 'has ["1", "2"] in its brackets, expected numbers'),
        ("[1, null]", "has null in its brackets, expected numbers"),
        ('{"model": {"y": [1]}}', "has no array under model"),
        ("[]", "has nothing in its brackets"),
        ("float y[] = {\n1.0f,\nmany};", "line 3 has 'many', expected numbers"),
        ("[0.1, 0.2, ..., 0.3]", "line 1 has '...', expected numbers"),
        ("[1,] 0.5 0.25\n[2,] 1.5 0.75\n", "line 1 has '0.5', expected numbers in brackets"),
        ("float y[] = {1.0f, 2.0f,", "a bracket that is not closed"),
        (",a\nx,0.5\ny,0.25\n", "a first column without a name, expected numbers"),
    ],
)
def test_what_is_no_array_is_told(text, told):
    with pytest.raises(UsageError, match=re.escape(told)):
        read(text)
