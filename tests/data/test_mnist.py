"""MNIST: the returned arrays, the bundled sample, and the full set in a user's folder.

All tests but two use the sample in place of the full set, which may not be available.
"""

import functools
import gzip
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dlskills.data import load_mnist, make_sample, mnist_files
from dlskills.data.idx import DataError

SAMPLE = mnist_files.SAMPLE_FOLDER
NAMES = sorted(path.name for path in SAMPLE.glob("*.gz"))
TRAIN_LABELS = "train-labels-idx1-ubyte.gz"


def full_set_folder():
    """Return the folder of the full set, or None if it is not available."""
    shared = Path(__file__).parents[2].parent / "shared" / "data" / "mnist"
    folder = Path(os.environ.get("DLSKILLS_DATA_DIR") or shared)
    return folder if folder.is_dir() else None


FULL = full_set_folder()
needs_full_set = pytest.mark.skipif(
    FULL is None,
    reason="the full MNIST set is not available: set DLSKILLS_DATA_DIR to its folder",
)


# The bundled sample


def test_images_are_flat_floats_and_labels_integers_by_default():
    (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    assert x_train.shape == x_test.shape == (10_000, 784)
    assert x_train.dtype == x_test.dtype == np.float32
    assert (x_train.min(), x_train.max()) == (0.0, 1.0)
    assert t_train.shape == t_test.shape == (10_000,)
    assert t_train.dtype == t_test.dtype == np.int64


def test_the_sample_contains_the_digits_of_mnist():
    (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    assert t_train[:5].tolist() == [5, 0, 4, 1, 9]
    assert t_test[:5].tolist() == [7, 2, 1, 0, 4]
    counts = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(t_test).tolist() == counts
    assert np.bincount(t_train).tolist() == [
        1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978,
    ]  # fmt: skip
    assert x_train.mean() == pytest.approx(0.1307, abs=0.002)  # all of MNIST: 0.1307
    assert x_test.std() == pytest.approx(0.3105, abs=0.002)


def test_normalized_pixels_are_the_raw_bytes_divided_by_255():
    (raw, _), _ = load_mnist(normalize=False, subset="sample")
    (normalized, _), _ = load_mnist(subset="sample")
    assert raw.dtype == np.uint8
    assert raw.max() == 255
    np.testing.assert_array_equal(normalized, raw.astype(np.float32) / np.float32(255))


def test_unflattened_images_have_one_channel_and_the_same_pixels():
    (flat, _), _ = load_mnist(False, True, subset="sample")
    (square, _), (square_test, _) = load_mnist(False, False, subset="sample")
    assert square.shape == square_test.shape == (10_000, 1, 28, 28)
    np.testing.assert_array_equal(square.reshape(10_000, 784), flat)


def test_one_hot_labels_are_floats_with_1_at_the_digit():
    (_, one_hot), (_, one_hot_test) = load_mnist(True, True, True, subset="sample")
    (_, labels), _ = load_mnist(subset="sample")
    assert one_hot.shape == one_hot_test.shape == (10_000, 10)
    assert one_hot.dtype == np.float32
    np.testing.assert_array_equal(one_hot.argmax(axis=1), labels)
    np.testing.assert_array_equal(one_hot.sum(axis=1), 1)
    assert set(np.unique(one_hot)) == {0, 1}


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("one_hot_label", [True, False])
def test_each_call_returns_new_writable_arrays(normalize, one_hot_label):
    load = functools.partial(load_mnist, normalize, one_hot_label=one_hot_label, subset="sample")
    originals = [array.copy() for split in load() for array in split]
    for split in load():
        for array in split:
            assert array.flags.c_contiguous
            array += 1
    again = [array for split in load() for array in split]
    for original, array in zip(originals, again, strict=True):
        np.testing.assert_array_equal(array, original)


@pytest.mark.parametrize(
    ("subset", "hint"),
    [("ful", 'did you mean "full"'), ("Sample", '"sample"'), ("mini", "mini'$")],
)
def test_an_unknown_subset_is_refused_with_a_suggestion(subset, hint):
    with pytest.raises(ValueError, match=f'^subset must be "full" or "sample", got .*{hint}'):
        load_mnist(subset=subset)


def test_a_folder_for_the_bundled_sample_is_refused(tmp_path):
    with pytest.raises(ValueError, match="^data_dir must be omitted .*, got .*. Omit it, or"):
        load_mnist(subset="sample", data_dir=tmp_path)


def test_the_sample_ignores_the_environment_variable(monkeypatch):
    monkeypatch.setenv("DLSKILLS_DATA_DIR", "/nowhere")
    load_mnist(subset="sample")


def test_a_damaged_sample_is_refused_with_the_name_of_the_file(monkeypatch, tmp_path):
    shutil.copytree(SAMPLE, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(mnist_files, "SAMPLE_FOLDER", tmp_path)
    change_a_label(tmp_path / TRAIN_LABELS)
    with pytest.raises(
        DataError, match=f"{TRAIN_LABELS} must have the SHA-256.*reinstall dlskills"
    ):
        load_mnist(subset="sample")
    (tmp_path / TRAIN_LABELS).unlink()
    with pytest.raises(DataError, match=f"^{TRAIN_LABELS} missing from .*reinstall dlskills"):
        load_mnist(subset="sample")


def change_a_label(path):
    content = bytearray(gzip.decompress(path.read_bytes()))
    content[-1] ^= 1
    path.write_bytes(gzip.compress(content))


# The full set in a user's folder


@needs_full_set
def test_the_full_set_contains_all_of_mnist():
    (x_train, t_train), (x_test, t_test) = load_mnist(data_dir=FULL)
    assert x_train.shape == (60_000, 784)
    assert x_test.shape == (10_000, 784)
    assert np.bincount(t_train).tolist() == [
        5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949,
    ]  # fmt: skip
    assert x_train.mean(dtype=np.float64) == pytest.approx(0.13066, abs=1e-5)
    (x_sample, t_sample), (x_sample_test, t_sample_test) = load_mnist(subset="sample")
    np.testing.assert_array_equal(x_sample, x_train[:10_000])
    np.testing.assert_array_equal(t_sample, t_train[:10_000])
    np.testing.assert_array_equal(x_sample_test, x_test)
    np.testing.assert_array_equal(t_sample_test, t_test)


@needs_full_set
@pytest.mark.slow
def test_the_sample_can_be_recreated_byte_for_byte(tmp_path):
    make_sample.make_sample(FULL, tmp_path)
    for name in NAMES:
        made, bundled = (tmp_path / name).read_bytes(), (SAMPLE / name).read_bytes()
        assert gzip.decompress(made) == gzip.decompress(bundled)
        assert made[:10] == bundled[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"  # neither time nor name
    first = {name: (tmp_path / name).read_bytes() for name in NAMES}
    make_sample.make_sample(FULL, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in NAMES} == first


@pytest.fixture
def stand_in(monkeypatch, tmp_path):
    """Create a user's folder with the files of the sample, in place of the full set."""
    monkeypatch.setattr(mnist_files, "FULL", mnist_files.SAMPLE)
    folder = tmp_path / "mine"
    shutil.copytree(SAMPLE, folder)
    return folder


def labels_of(loaded):
    (_, t_train), (_, t_test) = loaded
    return t_train[:3].tolist(), t_test[:3].tolist()


MNIST = ([5, 0, 4], [7, 2, 1])


def test_make_sample_refuses_a_source_that_is_not_the_full_set(tmp_path):
    with pytest.raises(
        DataError, match=r"must contain items of shape \(60000, 28, 28\), got \(10000,"
    ):
        make_sample.make_sample(SAMPLE, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_make_sample_runs_as_a_command(stand_in, tmp_path, monkeypatch):
    target = tmp_path / "made"
    monkeypatch.setattr(sys, "argv", ["make_sample", str(stand_in), str(target)])
    make_sample.main()
    for name in NAMES:
        unpacked = [gzip.decompress((folder / name).read_bytes()) for folder in (target, SAMPLE)]
        assert unpacked[0] == unpacked[1]


def test_data_dir_overrides_the_environment_variable(stand_in, monkeypatch):
    monkeypatch.setenv("DLSKILLS_DATA_DIR", "/nowhere")
    assert labels_of(load_mnist(data_dir=str(stand_in))) == MNIST


def test_the_environment_variable_names_the_folder(stand_in, monkeypatch):
    monkeypatch.setenv("DLSKILLS_DATA_DIR", str(stand_in))
    assert labels_of(load_mnist()) == MNIST


def test_a_tilde_is_expanded(stand_in, monkeypatch):
    monkeypatch.setenv("HOME", str(stand_in.parent))
    monkeypatch.setenv("USERPROFILE", str(stand_in.parent))
    assert labels_of(load_mnist(data_dir="~/mine")) == MNIST


def test_decompressed_files_are_found_with_and_without_gz(stand_in):
    for name in NAMES[:2]:
        packed = stand_in / name
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    kept_name = stand_in / NAMES[2]
    kept_name.write_bytes(gzip.decompress(kept_name.read_bytes()))
    assert labels_of(load_mnist(data_dir=stand_in)) == MNIST


def test_files_missing_from_a_folder_are_named(stand_in, monkeypatch):
    (stand_in / TRAIN_LABELS).unlink()
    (stand_in / "t10k-images-idx3-ubyte.gz").unlink()
    missing = f"^{TRAIN_LABELS}, t10k-images-idx3-ubyte.gz missing from the folder .*mine"
    remedy = r"[.] .*download.*DLSKILLS_DATA_DIR"
    with pytest.raises(DataError, match=rf"{missing} \(given as data_dir\){remedy}"):
        load_mnist(data_dir=stand_in)
    monkeypatch.setenv("DLSKILLS_DATA_DIR", str(stand_in))
    with pytest.raises(DataError, match=rf"{missing} \(named by DLSKILLS_DATA_DIR\){remedy}"):
        load_mnist()


def test_a_folder_that_does_not_exist_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent \(given as data_dir\) does not exist"):
        load_mnist(data_dir=tmp_path / "absent")


def test_a_damaged_file_of_the_user_is_refused_and_not_changed(stand_in):
    path = stand_in / TRAIN_LABELS
    change_a_label(path)
    before = path.read_bytes()
    with pytest.raises(
        DataError, match=f"{re.escape(str(path))} must have the SHA-256.*Delete it "
    ):
        load_mnist(data_dir=stand_in)
    assert path.read_bytes() == before


def test_a_file_that_is_far_too_long_is_refused_before_it_is_read_whole(stand_in):
    path = stand_in / "t10k-labels-idx1-ubyte.gz"
    os.truncate(path, 2**33)  # as a sparse file: it takes no room
    with pytest.raises(DataError, match=r"t10k-labels.* holds more than 1,068,576 bytes\. Delete"):
        load_mnist(data_dir=stand_in)


def test_loading_the_sample_imports_no_heavy_package():
    code = (
        "import sys, dlskills.data; dlskills.data.load_mnist(subset='sample'); "
        "print(sorted({'pooch', 'requests', 'rich', 'tqdm', 'matplotlib'} & set(sys.modules)))"
    )
    root = str(Path(mnist_files.__file__).parents[2])
    path = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    finished = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, check=True, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip
    assert finished.stdout.strip() == "[]"
