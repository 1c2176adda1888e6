"""Measures what a picture costs: to compute it, and to show it in a headless Chromium.

    python benchmarks/graph.py [COUNT ...]       (default: 30 300 1000)

It needs no root. The last column is the time until the browser has read the page, drawn the picture and built the matrix.
Without chromium and chromium-driver it is empty. The best of three runs counts.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from reconciler.graph.html import render_html  # noqa: E402  # the checkout has to be on the path first
from reconciler.graph.layout import lay_out  # noqa: E402
from reconciler.graph.svg import render_svg  # noqa: E402
from tests.harness.browser import Browser, open_browser  # noqa: E402
from tests.harness.topologies.graphs import graph_of, make_large  # noqa: E402

RUNS = 3


def best(work: Callable[[], object]) -> float:
    """Seconds, the best of the runs."""
    times = []
    for _ in range(RUNS):
        begun = time.monotonic()
        work()
        times.append(time.monotonic() - begun)
    return min(times)


def main() -> None:
    """Print a line for each number of containers."""
    parser = argparse.ArgumentParser(description="Measures what a picture costs.")
    parser.add_argument("counts", nargs="*", type=int, default=[30, 300, 1000])
    counts = parser.parse_args().counts
    print("| containers | expectations | layout and SVG | SVG | page | page in the browser |")
    print("|---:|---:|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory(prefix="netctl-graph-") as name:
        folder = Path(name)
        if shutil.which("chromium") and shutil.which("chromedriver"):
            with open_browser(folder / "browser") as browser:
                for count in counts:
                    print(measure(count, folder, browser), flush=True)
        else:
            for count in counts:
                print(measure(count, folder, None), flush=True)


def measure(count: int, folder: Path, browser: Browser | None) -> str:
    """One line of the table."""
    topology = make_large(count)
    graph = graph_of(topology)
    picture = lay_out(graph)
    compiled, drawn = best(lambda: graph_of(topology)), best(lambda: render_svg(lay_out(graph)))
    file, svg = folder / "page.html", render_svg(picture)
    file.write_text(render_html(picture), encoding="utf-8")
    shown = f"{load(browser, file):.0f} ms" if browser else ""
    sizes = f"{len(svg) >> 10:,} kB | {file.stat().st_size >> 10:,} kB"
    return f"| {count:,} | {compiled:.2f} s | {drawn:.3f} s | {sizes} | {shown} |"


def load(browser: Browser, file: Path) -> float:
    """Milliseconds until the page is there, by the browser's own clock."""
    script = "return performance.getEntriesByType('navigation')[0].loadEventEnd"
    times = []
    for _ in range(RUNS):
        browser.open(file)
        times.append(float(browser.run(script)))
    return min(times)


if __name__ == "__main__":
    main()
