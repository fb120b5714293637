"""Model time at batch 1 and 8 for each runtime against eager fp32 torch.

    python benchmarks/scoring.py [BUNDLE]

Prints a Markdown table with ratios, and one with the share of the machine's peak: what a large 1x1
convolution reaches in that precision. `file_to_score.py` has what lies around the model.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from inference.bundle import open_bundle
from inference.errors import RuntimeMissing
from inference.installed import SHIPPED
from inference.runtime import RUNTIMES, graph, load
from inference.runtime.vino import core

_SECONDS = 3.0
_SIDE, _CHANNELS = 64, 512  # of the convolution that shows the peak


def median_ms(call) -> float:
    """Median of as many calls as fit into a few seconds, after one to warm up."""
    call()
    taken, began = [], time.perf_counter()
    while time.perf_counter() - began < _SECONDS or len(taken) < 5:
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def operations(bundle) -> float:
    """Multiplications and additions for one ECG, from the network's convolutions and its head."""
    model = graph.build(bundle.weights(), bundle.network)
    model.reshape([1, 1, bundle.network.height, bundle.network.width])
    total = 0
    for op in model.get_ops():
        if op.get_type_name() in ("Convolution", "MatMul"):
            kernel = op.input(1).get_shape()  # (out, in, rows, cols) or (out, in)
            total += np.prod(op.output(0).get_shape()) * np.prod(kernel[1:])
    return 2.0 * float(total)


def peak(precision: str) -> float:
    """Operations per second of a 1x1 convolution in `fp32`, `bf16` or `int8`."""
    rng = np.random.default_rng(0)
    given = ops.parameter([1, _CHANNELS, _SIDE, _SIDE], np.float32)
    kernel = ops.constant(rng.normal(0, 0.1, (_CHANNELS, _CHANNELS, 1, 1)).astype(np.float32))
    x, w = given, kernel
    if precision == "int8":
        x = ops.fake_quantize(given, *np.float32([0, 1, 0, 1]), 256)
        w = ops.fake_quantize(kernel, *np.float32([-0.5, 0.5, -0.5, 0.5]), 255)
    product = ops.convolution(x, w, [1, 1], [0, 0], [0, 0], [1, 1])
    hint = "bf16" if precision == "bf16" else "f32"
    options = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint}
    request = core().compile_model(ov.Model([product], [given], "peak"), "CPU", options)
    request = request.create_infer_request()
    image = rng.random((1, _CHANNELS, _SIDE, _SIDE), np.float32)
    taken_ms = median_ms(lambda: request.infer({0: image}))
    return 2.0 * _SIDE**2 * _CHANNELS**2 / (taken_ms / 1000)


def shares(times: dict[str, dict[int, float]], needed: float) -> None:
    print(f"\n{needed / 1e9:.2f} GOP an ECG; share of the machine's peak in the same precision\n")
    print("| runtime | peak GOP/s | batch 1 | batch 8 |")
    print("|---|---|---|---|")
    for name, each in times.items():
        most = peak(name.removeprefix("openvino-").replace("torch", "fp32"))
        reached = [f"{1000 * needed / each[size] / most:.0%}" for size in (1, 8)]
        print(f"| {name} | {most / 1e9:.0f} | " + " | ".join(reached) + " |")


def runtimes(path: Path) -> None:
    bundle = open_bundle(path)
    shape = (1, bundle.network.height, bundle.network.width)
    rng = np.random.default_rng(0)
    times: dict[str, dict[int, float]] = {}
    for name in reversed(RUNTIMES):
        try:
            runtime = load(bundle, name)
        except RuntimeMissing as error:
            print(f"<!-- {name}: {error} -->")
            continue
        times[name] = {}
        for size in (1, 8):
            batch = (rng.random((size, *shape)) < 0.05).astype(np.float32)
            times[name][size] = median_ms(lambda r=runtime, b=batch: r.logits(b)) / size
    print(f"Model only, {shape[1]}x{shape[2]}, ms per ECG (median)\n")
    print("| runtime | batch 1 | ratio | batch 8 | ratio |")
    print("|---|---|---|---|---|")
    base = times.get("torch")
    for name, each in times.items():
        cells = []
        for size in (1, 8):
            ratio = f"{base[size] / each[size]:.1f}x" if base else ""
            cells += [f"{each[size]:.1f}", ratio]
        print(f"| {name} | " + " | ".join(cells) + " |")
    shares(times, operations(bundle))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bundle", nargs="?", type=Path, default=SHIPPED / "reference")
    runtimes(parser.parse_args().bundle)


if __name__ == "__main__":
    main()
