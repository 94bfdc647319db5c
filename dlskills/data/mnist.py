"""MNIST: 70,000 labelled images of handwritten digits, 28 x 28 pixels each."""

import difflib
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dlskills.data.mnist_files import read_full, read_sample

SUBSETS = ("full", "sample")


def load_mnist(
    normalize: bool = True,
    flatten: bool = True,
    one_hot_label: bool = False,
    *,
    subset: str = "full",
    data_dir: str | os.PathLike[str] | None = None,
) -> tuple[tuple[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]:
    """Load the MNIST digits.

    Parameters
    ----------
    normalize : bool, default True
        Return pixels as float32 from 0 (background) to 1 (ink) instead of uint8 from 0 to 255.
    flatten : bool, default True
        Return each image as a vector of 784 pixels instead of an array of shape (1, 28, 28).
    one_hot_label : bool, default False
        Return each label as a float32 one-hot vector of length 10 instead of an int64 number.
    subset : {"full", "sample"}, default "full"
        ``"full"`` is all of MNIST, 60,000 training and 10,000 test images. ``"sample"``, the
        first 10,000 training images and all test images, is bundled with the package and needs
        neither a network connection nor a folder.
    data_dir : str or path-like, optional
        Folder with the four original files of the full set, with or without ``.gz``. By default
        the folder named by the environment variable ``DLSKILLS_DATA_DIR``; if that is not set, the
        user's cache folder, into which the files (11 MB) are downloaded on first use.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuples of numpy.ndarray
        Images, of shape (N, 784) or (N, 1, 28, 28), and labels, of shape (N,) or (N, 10).
        Each call returns new, writable arrays.

    Raises
    ------
    DataError
        A file is missing, can't be downloaded, or differs from the original in its SHA-256; the
        message names the file and says what to do. (A kind of ValueError.)
    ValueError
        `subset` is unknown, or is ``"sample"`` although a `data_dir` is given.

    Warns
    -----
    UserWarning
        A file in the cache is damaged and is downloaded again. Files in a folder given by the
        user are never changed.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", 1998.

    Examples
    --------
    >>> (x_train, t_train), (x_test, t_test) = load_mnist(subset="sample")
    >>> x_train.shape, x_train.dtype
    ((10000, 784), dtype('float32'))
    >>> t_train[:5]
    array([5, 0, 4, 1, 9])
    """
    if isinstance(normalize, str):
        raise TypeError(
            f"normalize must be True or False, got {normalize!r}. Pass a subset by keyword: "
            f"load_mnist(subset={normalize!r})"
        )
    check_subset(subset)
    if subset == "sample" and data_dir is not None:
        raise ValueError(
            f'data_dir must be omitted with subset="sample", which is bundled, got {data_dir!r}. '
            'Omit it, or use subset="full"'
        )

    files = read_sample() if subset == "sample" else read_full(data_dir)
    train_images, train_labels, test_images, test_labels = files

    def images(raw: NDArray[np.uint8]) -> NDArray[Any]:
        shaped = raw.reshape(-1, 784) if flatten else raw.reshape(-1, 1, 28, 28)
        return np.divide(shaped, 255, dtype=np.float32) if normalize else shaped.copy()

    def labels(raw: NDArray[np.uint8]) -> NDArray[Any]:
        return np.eye(10, dtype=np.float32)[raw] if one_hot_label else raw.astype(np.int64)

    return (images(train_images), labels(train_labels)), (images(test_images), labels(test_labels))


def check_subset(subset: Any) -> None:
    """Raise ValueError unless `subset` names one of the subsets."""
    if subset not in SUBSETS:
        near = difflib.get_close_matches(str(subset).lower(), SUBSETS, n=1)
        hint = f'; did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'subset must be "full" or "sample", got {subset!r}{hint}')
