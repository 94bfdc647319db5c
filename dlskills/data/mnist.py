"""MNIST: 70,000 handwritten digits, 28 x 28 pixels each, and the digit that each one shows."""

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
        Give pixels as float32 from 0 (paper) to 1 (ink) instead of uint8 from 0 to 255.
    flatten : bool, default True
        Give each image as 784 numbers instead of an array of shape (1, 28, 28).
    one_hot_label : bool, default False
        Give each label as ten float32 numbers, 1 at the digit and 0 elsewhere, instead of
        as one int64 number.
    subset : {"full", "sample"}, default "full"
        "full" is all of MNIST, 60,000 training and 10,000 test images. "sample" is bundled with
        the package and needs neither a network nor a folder: the first 10,000 training images,
        and all 10,000 test images.
    data_dir : str or path-like, optional
        The folder that holds the full set: the four original files, with or without ``.gz``.
        By default the folder named by the environment variable ``DLSKILLS_DATA_DIR``, and
        without it a cache folder of this user, into which the files are downloaded (11 MB)
        the first time.

    Returns
    -------
    (x_train, t_train), (x_test, t_test) : tuples of numpy.ndarray
        Images, of shape (N, 784) or (N, 1, 28, 28), and labels, of shape (N,) or (N, 10).
        The arrays are new at each call and may be written to.

    Raises
    ------
    DataError
        A ValueError: if a file is missing, cannot be downloaded, or is not the original,
        by its SHA-256. The message names the file and says what to do.
    ValueError
        If `subset` is neither of the two, or is "sample" when a `data_dir` is given.

    Warns
    -----
    UserWarning
        If a file in the cache is damaged; it is downloaded again. Files in a folder that you
        named are never changed.

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
            f"normalize must be True or False; got {normalize!r}. A subset has its keyword: "
            f"load_mnist(subset={normalize!r})."
        )
    check_subset(subset)
    if subset == "sample" and data_dir is not None:
        raise ValueError(
            f'data_dir is where the full set lies, but subset is "sample", which is bundled; got '
            f'data_dir={data_dir!r}. Leave out data_dir, or ask for subset="full".'
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
    """Refuse what is no part of MNIST, with a ValueError that names those there are."""
    if subset not in SUBSETS:
        near = difflib.get_close_matches(str(subset).lower(), SUBSETS, n=1)
        hint = f' Did you mean "{near[0]}"?' if near else ""
        raise ValueError(f'subset must be "full" or "sample"; got {subset!r}.{hint}')
