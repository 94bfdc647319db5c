"""Fuzzing of every format that is read, with atheris: ``nox -s fuzz -- FORMAT RUNS``.

Each target is given bytes, reads them as a file of its format, and may only succeed or refuse them
by the file's name. Any other error, a hang of 10 s or more than 1 GB of memory stops the run, and
the bytes that caused it are written to the folder `crashes`.
"""

import hashlib
import io
import json
import os
import struct
import sys
import tempfile
import warnings
import zlib
from pathlib import Path

import atheris
import numpy as np

with atheris.instrument_imports(include=["dlskills"]):
    import dlskills
    from dlskills.arrays import tensors_file
    from dlskills.arrays.tensors_file import read_stream, read_tensors, write_tensors
    from dlskills.data.idx import DataError, parse_idx
    from dlskills.experiments.result_files import results_of
    from dlskills.files import FileFormatError
    from dlskills.networks import saving
    from dlskills.strict_json import parse_json
    from dlskills.training import Checkpoint, EarlyStopping, checkpoint_folder, state_file

NAME = "a-file"
SHAPE = (3, 2, 2)
ITEMS = struct.pack(">4B3I", 0, 0, 8, 3, *SHAPE) + bytes(range(12))
DIGEST = hashlib.sha256(ITEMS).hexdigest()


GOOD_RESULTS = {
    "kind": "dlskills results", "version": 1, "environment": {"NumPy": "2.0"},
    "forced_engine": None, "experiment_file": None, "own_experiment": False, "files": {},
    "experiment": "symmetry", "quick": False,
    "runs": [
        {
            "settings": {"seed": seed, "device": "cpu", "subset": "sample", "verbose": True},
            "options": {"steps": 3}, "backend": "cpu (NumPy)", "engine": "numba",
            "seconds": 1.5, "numbers": {"a": [1, 2.5, None, "x"]},
        }
        for seed in (0, 1)
    ],
}  # fmt: skip


def small_network():
    return dlskills.MultiLayerNetExtend(
        2, [3], 2, use_dropout=True, use_batchnorm=True, seed=1, weight_init_std=0.1
    )


def file_of_network(folder):
    path = folder / "net.safetensors"
    small_network().save(path)
    return path


def idx(content):
    """Read an IDX file, plain or gzipped."""
    try:
        parse_idx(content, NAME, shape=SHAPE, sha256=DIGEST, remedy="Get it again.")
    except DataError as error:
        return str(error)
    return None


def tensors(content):
    """Read a safetensors file whose checksum is made to fit, so that it does not hide the rest."""
    if len(content) > 8:
        length = int.from_bytes(content[:8], "little")
        if length % 2:  # half of all inputs are mended
            length = min(length // 2, len(content) - 8)
            content = _mended(content[8 : 8 + length], content[8 + length :])
    try:
        read_stream(io.BytesIO(content), len(content), NAME)
    except FileFormatError as error:
        return str(error)
    return None


def _mended(header, data):
    size = len(header).to_bytes(8, "little")
    blank = tensors_file._NO_CHECKSUM.encode()
    checksum = zlib.crc32(data, zlib.crc32(header, zlib.crc32(size)))
    return size + header.replace(blank, f"crc32 {checksum:08x}".encode(), 1) + data


def networks(content):
    """Make a network from the metadata of a file, whose arrays are those of a good one."""
    try:
        metadata = parse_json(content, NAME)
        if not isinstance(metadata, dict):
            return None
        network = saving.network_of(ARRAYS, metadata, NAME)
    except FileFormatError as error:
        return str(error)
    repr(network)
    network.predict(np.ones((1, 2), np.float32))
    return None


def load(state, shards):
    """Load a state into the training; shards are files, which are not fuzzed here."""
    TRAINER.load_state_dict(state)


def checkpoints(content):
    """Load a checkpoint from its plain part; its arrays are those of a good one."""
    before = TRAINER.step, TRAINER.network.params.flat.tobytes()
    try:
        plain = parse_json(content, NAME)
        if not isinstance(plain, dict):
            return None
        state = state_file.joined(CHECKPOINT, plain, NAME)
        checkpoint_folder.load_checked(state, NAME, None, TRAINER.about(), load)
    except FileFormatError as error:
        if before != (TRAINER.step, TRAINER.network.params.flat.tobytes()):
            raise RuntimeError("a refused checkpoint was loaded in part") from error
        return str(error)
    repr(TRAINER)
    return None


def small_trainer(**options):
    x, t = np.eye(8, 2, dtype="f4"), np.arange(8) % 2
    return dlskills.Trainer(
        small_network(), x, t, x, t, epochs=2, mini_batch_size=4, optimizer="adam",
        verbose=False, **options,
    )  # fmt: skip


def file_of_checkpoint(folder):
    checkpoint = Checkpoint(folder / "checkpoints")
    small_trainer(callbacks=[EarlyStopping("test_accuracy"), checkpoint]).train()
    return checkpoint._folder.files()[0]


def results(content):
    """Read a result file."""
    try:
        results_of(parse_json(content, NAME), NAME)
    except FileFormatError as error:
        return str(error)
    return None


def seeds(target, folder):
    """Good files for a target to start from."""
    path = file_of_network(folder)
    if target is idx:
        import gzip

        return [ITEMS, gzip.compress(ITEMS)]
    if target is tensors:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        blank = content[8 : 8 + length].replace(
            json.loads(content[8 : 8 + length])["__metadata__"]["checksum"].encode(),
            tensors_file._NO_CHECKSUM.encode(),
        )
        write_tensors(folder / "small", {"x": np.ones(2, "f4")}, {"a": 1})
        mendable = (2 * length + 1).to_bytes(8, "little") + blank + content[8 + length :]
        return [content, mendable, (folder / "small").read_bytes()]
    if target is checkpoints:
        return [json.dumps(read_tensors(file_of_checkpoint(folder))[1]).encode()]
    if target is networks:
        return [json.dumps(read_tensors(path)[1]).encode()]
    return [json.dumps(GOOD_RESULTS).encode()]


def one(target):
    def run(content):
        message = target(content)
        if message is not None and NAME not in message:
            raise RuntimeError(f"a refusal does not name the file: {message}")

    return run


TARGETS = {target.__name__: target for target in (idx, tensors, networks, checkpoints, results)}
WORDS = [
    "dtype", "shape", "data_offsets", "__metadata__", "checksum", "dlskills", "F32", "BF16",
    "class", "settings", "layers", "network", "values", "version", "initializer", "function",
    "mapping", "$array", "$float", "head", "state", "optimizer", "history", "step",
    "Affine", "Dropout", "BatchNormalization", "crc32 00000000", "NaN", "1e999", "-1",
    "[[[[", "{}", "runs", "settings", "seed", "options", "numbers", "kind", "files",
]  # fmt: skip


def main():
    name, runs = sys.argv[1], int(sys.argv[2])
    warnings.simplefilter("ignore")
    crashes = Path("crashes")
    crashes.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        corpus = folder / "corpus"
        corpus.mkdir()
        global ARRAYS, CHECKPOINT, TRAINER
        ARRAYS, _ = read_tensors(file_of_network(folder))
        CHECKPOINT, _ = read_tensors(file_of_checkpoint(folder / "a run"))
        # as many callbacks as there: a Checkpoint of its own would lock a folder
        TRAINER = small_trainer(callbacks=[EarlyStopping("test_accuracy"), lambda trainer: None])
        target = TARGETS[name]
        for i, content in enumerate(seeds(target, folder)):
            target(content)
            (corpus / str(i)).write_bytes(content)
        words = folder / "words"
        words.write_text("".join(f'"{word}"\n' for word in WORDS))
        options = [
            f"-runs={runs}", "-timeout=10", "-rss_limit_mb=1024", "-max_len=4096",
            f"-dict={words}", f"-artifact_prefix={crashes}{os.sep}", "-print_final_stats=1",
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *options, str(corpus)], one(target))
        atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main()
