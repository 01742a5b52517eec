"""Arrays in files that anybody wrote, told by content; text is known to its digits only."""

import io

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save

from rnnparity.errors import UsageError
from rnnparity.problems.saved import read_others, read_saved

VALUES = np.array([[0.5, -1.25, 3e-5], [0, 7, -0.1]])


def _file(folder, content, name="y.dat"):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def _npy(array):
    made = io.BytesIO()
    np.save(made, array)
    return made.getvalue()


def _npz(**arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


@pytest.mark.parametrize("name", ["y.npy", "y.dat", "y", "y.csv"])
@pytest.mark.parametrize(
    "content",
    [
        _npy(VALUES),
        _npy(np.asfortranarray(VALUES)),
        _npz(output=VALUES),
        save({"any": VALUES}),
        "0.5,-1.25,3e-5\n0,7,-.1\n",
        "# a remark\ny0,y1,y2\n0.5, -1.25, 3e-5 # here, too\n\n0,7,-0.1",
        "0.5 -1.25  3e-05\r\n0\t7 -0.1\r\n".replace("\t", " "),
        "0,5;-1,25;3e-5;\n0;7;-0,1;\n",
        "0.5\t-1.25\t3D-5\n0\t7\t-1d-1\n",
        "\ufeff0.5,-1.25,3e-5\n+0,7.,-0.1\n",
        '"0.5","-1.25","3e-5"\n"0","7","-0.1"\n',
    ],
    ids=["npy", "fortran", "npz", "safetensors", *"abcdefg"],
)
def test_files_are_told_by_content(tmp_path, content, name):
    found = read_saved(_file(tmp_path, content, name), "output")
    np.testing.assert_array_equal(found.values, VALUES)


@pytest.mark.parametrize("ending", ["npy", "npz", "safetensors", "pt", "h5", "onnx", "msgpack"])
def test_an_ending_tells_nothing(tmp_path, ending):
    """Binary numbers are told as such, though they begin like other files but for a few bits."""
    for first in (1.0, np.uint32(0x3F800080).view("f4")):  # its first byte is a pickle's
        numbers = np.array([first, 0, np.uint32(0x3F80007B).view("f4"), 2], "f4")
        path = _file(tmp_path, numbers.tobytes(), f"y.{ending}")
        with pytest.raises(UsageError, match="binary without a header"):
            read_saved(path, "output")


@pytest.mark.parametrize("heading", ["PK1,PK2,PK3", "MATLAB,b,c", "<h>,b,c", "BZh,b,c", "GGUF,b,c"])
def test_a_heading_is_no_magic_number(tmp_path, heading):
    path = _file(tmp_path, f"{heading}\n0.5,-1.25,3e-5\n0,7,-0.1\n")
    np.testing.assert_array_equal(read_saved(path, "output").values, VALUES)


def test_dtypes_are_kept(tmp_path):
    for dtype in ("float16", "float32", ml_dtypes.bfloat16):
        path = _file(tmp_path, save({"y": VALUES.astype(dtype)}))
        assert read_saved(path, "output").values.dtype == dtype


@pytest.mark.parametrize(
    ("text", "off", "digits"),
    [
        ("0.50,-0.25", [0.005, 0.005], "2 decimals"),
        ("0.5,-0.25", [0.005, 0.005], "2 digits"),  # as %g writes: 0.50 would be 0.5, too
        ("1.5e-3,2.25e1", [0.5e-5, 0.05], "3 digits"),
        ("0.0,0.0", [0, 0], "zeros"),
        ("0,1e-9", [0, 0.5e-9], "1 digits"),
        ("0.123456789,1", [0.5e-9, 0.5e-8], "9 digits"),
    ],
)
def test_text_is_known_to_its_digits(tmp_path, text, off, digits):
    found = read_saved(_file(tmp_path, text), "output")
    np.testing.assert_allclose(found.off[0], off, rtol=1e-12)
    assert found.digits == digits


def test_what_is_no_number_stays_so(tmp_path):
    found = read_saved(_file(tmp_path, "nan,1.0\n-inf,NaN\n"), "output").values
    np.testing.assert_array_equal(found, [[np.nan, 1], [-np.inf, np.nan]])


def test_one_of_several_is_found_by_its_name(tmp_path):
    path = _file(tmp_path, _npz(x=VALUES, h=VALUES[0], mine=VALUES[1]), "all.npz")
    np.testing.assert_array_equal(read_saved(path, "h_n").values, VALUES[0])
    np.testing.assert_array_equal(read_saved(f"{path}:mine", "output").values, VALUES[1])
    assert read_others(path, ("h_n", "c_n")).keys() == {"h_n"}
    assert read_others(f"{path}:x", ("h_n",)) == {}
    with pytest.raises(UsageError, match=r"none of them called output: there is x, h, mine; give"):
        read_saved(path, "output")
    with pytest.raises(UsageError, match="has no array 'no': there is x, h, mine"):
        read_saved(f"{path}:no", "output")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is empty"),
        (b" \n\n", "is empty"),
        ("a,b\nc,d\n", "has no numbers"),
        ("1,2\n3\n", "line 2 has 1 numbers, line 1 2"),
        ("1,2\n3,x\n", "line 2 has 'x', expected numbers"),
        ("1,2\n3,\n", "line 2 has 1 numbers"),
        (b"MATLAB 5.0 MAT-file, made somewhere", "a MATLAB file.*writematrix"),
        (b"\x89HDF\r\n\x1a\n" + bytes(20), "an HDF5 file.*h5py"),
        (b"\x80\x04\x95abc.", "a pickle.*numpy.save"),
        (b"PK\x03\x04" + b"archive/data.pkl" + bytes(30), "torch.save.*detach"),
        (np.ones(9, "f4").tobytes(), "binary without a header.*fromfile"),
        (b"\xfd\xfa1,2", "neither text nor"),
        (_npy(np.array(["a"])), "is <U1, expected numbers"),
        (_npy(np.array([1j])), "is complex128, expected numbers"),
        (_npy(VALUES)[:-9], "damaged"),
        (_npz(y=VALUES)[:-9], "damaged"),
        (save({"y": VALUES})[:-9], "damaged"),
        (save({"y": VALUES})[:20], "a safetensors file, but damaged"),
    ],
)
def test_what_cannot_be_read_is_told_in_one_line(tmp_path, content, told):
    with pytest.raises(UsageError, match=told) as caught:
        read_saved(_file(tmp_path, content), "output")
    assert "\n" not in str(caught.value)


def test_nothing_pickled_is_loaded(tmp_path):
    np.save(tmp_path / "y.npy", np.array([print, 1], object), allow_pickle=True)
    with pytest.raises(UsageError, match="damaged"):
        read_saved(tmp_path / "y.npy", "output")


def test_two_arrays_in_one_file_are_noticed(tmp_path):
    path = _file(tmp_path, _npy(VALUES) + _npy(VALUES))
    with pytest.raises(UsageError, match="holds more than one array"):
        read_saved(path, "output")


def test_wide_text_is_read_and_compressed_files_are_told(tmp_path):
    path = _file(tmp_path, "0.5,-1.25,3e-5\n0,7,-0.1\n".encode("utf-16"))
    np.testing.assert_array_equal(read_saved(path, "output").values, VALUES)
    with pytest.raises(UsageError, match=r"gzip.*gunzip it first"):
        read_saved(_file(tmp_path, b"\x1f\x8b\x08" + bytes(9)), "output")


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"no file .*none.npy: expected .npy, .npz"):
        read_saved(tmp_path / "none.npy", "output")
