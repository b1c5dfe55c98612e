"""Time and peak memory of Scaled Activation Projection: statistics, then all layers projected for several alphas.

    PYTHONPATH=.:tests python tests/benchmarks/projection.py [--model resnet18] [--alphas 5] [--trusted 1000]

Random images and random weights: the work does not depend on their content. Processor seconds are the ones to compare
on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def main() -> None:
    """Prints one line a stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet18")
    parser.add_argument("--alphas", type=int, default=5)
    parser.add_argument("--trusted", type=int, default=1000)
    parser.add_argument("--side", type=int, default=32)
    options = parser.parse_args()

    import numpy as np

    from support.benchmarks import save
    from unlearning.architectures import build
    from unlearning.projection.sites import find_sites
    from unlearning.projection.solver import Projector
    from unlearning.projection.statistics import collect

    shape = (options.side, options.side, 3)
    model = build(options.model, input_shape=shape, num_classes=10, seed=0)
    images = np.random.default_rng(0).integers(0, 256, (options.trusted, *shape), dtype=np.uint8)
    model.predict(images[:64], verbose=0)
    sites, _ = find_sites(model)
    print(f"{options.model}: {len(sites)} layers, {options.trusted} trusted rows, {options.alphas} alphas")

    rows = []

    def report(stage: str, started: tuple[float, float]) -> None:
        wall, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{stage:28} {wall:7.1f} s, {cpu:7.1f} s of processor time, peak so far {peak:6.0f} MB", flush=True)
        rows.append({"stage": stage, "seconds": wall, "processor_seconds": cpu, "peak_mb": peak})

    def now() -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    started = now()
    statistics = collect(model, sites, images)
    report("statistics", started)
    started = now()
    projectors = []
    for number, site in enumerate(sites):
        projectors.append(Projector(statistics[number], site.outputs, options.alphas))
        statistics[number] = None  # type: ignore[call-overload]
    kernels = [site.matrices() for site in sites]
    for alpha in np.geomspace(1e6, 1e4, options.alphas):
        for site, projector, kernel in zip(sites, projectors, kernels, strict=True):
            site.assign(projector.project(kernel, float(alpha)))
    report("projection of all layers", started)
    started = now()
    for projector in projectors:
        projector.ratios()
    report("spectra", started)
    facts = {"model": options.model, "layers": len(sites), "trusted_rows": options.trusted, "alphas": options.alphas}
    save("projection", rows, **facts)


if __name__ == "__main__":
    main()
