import pytest

from benchmarks.imports import PACKAGES, start


@pytest.mark.benchmark(group="import")
@pytest.mark.parametrize("package", PACKAGES)
def test_import(benchmark, package, tmp_path):
    pytest.importorskip(package)
    benchmark.pedantic(start, args=(package, str(tmp_path)), rounds=10, warmup_rounds=1)
