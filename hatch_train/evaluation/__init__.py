"""Does it work? Benchmarks read from their published files, native and repaired scores, comparison, probes.

One module a benchmark, each with a `BENCHMARK` that says how to read, to ask and to score it; all else is shared.
"""

from __future__ import annotations

from importlib import import_module

from hatch_train.errors import EvaluationError
from hatch_train.evaluation.samples import Benchmark

#: Name on the command line -> module and variant.
BENCHMARKS = {
    "spar": ("spar_bench", "all"),
    "spar_mv": ("spar_bench", "mv"),
    "spar_si": ("spar_bench", "si"),
    "spar_tiny": ("spar_bench", "tiny"),
    "mindcube": ("mindcube", "full"),
    "mindcube_tiny": ("mindcube", "tiny"),
    "mmsi": ("mmsi_bench", ""),
    "cv_bench": ("cv_bench", ""),
    "blink": ("blink", ""),
    "viewspatial": ("viewspatial", ""),
    "vsi": ("vsi_bench", ""),
    "vsi_debiased": ("vsi_bench", "debiased"),
    "held_out": ("held_out", ""),
    "held_out_validation": ("held_out", "validation"),
    "held_out_test": ("held_out", "test"),
}


def benchmark(name: str) -> tuple[Benchmark, str]:
    """The benchmark and the variant that a name stands for."""
    if name not in BENCHMARKS:
        raise EvaluationError(f"no benchmark is called '{name}'; known: {', '.join(BENCHMARKS)}")
    module, variant = BENCHMARKS[name]
    return import_module(f"hatch_train.evaluation.{module}").BENCHMARK, variant
