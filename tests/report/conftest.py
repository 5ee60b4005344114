from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from opened_page import Opened
from synthetic_runs import Benchmark, add_study

from recbole_ext.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture
def benchmark(tmp_path: Path) -> Benchmark:
    return Benchmark(tmp_path / "runs" / "amazon")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: pip install 'recbole-ext[test]'")
    program = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser found: none of {', '.join(BROWSERS)} is on the path (Debian: apt install chromium)")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two datasets, two models, three initialisations of three seeds; one row of a single seed; a study."""
    results = tmp_path_factory.mktemp("results")
    benchmark = Benchmark(results / "amazon")
    for dataset in ("Arts & Crafts, <50 %", "Office"):
        for model, quality in (("SASRec", 0.3), ("BERT4Rec", 0.25)):
            for seed in (42, 43, 44):
                benchmark.add(dataset=dataset, model=model, seed=seed, quality=quality)
                benchmark.add(dataset=dataset, model=model, seed=seed, variant="minilm", quality=quality + 0.2)
                benchmark.add(dataset=dataset, model=model, seed=seed, variant="kept", mode="frozen", quality=0.1)
    benchmark.add(dataset="Office", model="GRU_4", quality=0.2)
    add_study(results / "studies" / "layers", text="## Depth\n\nSee [more](more.csv).")
    (results / "performance" / "cpu").mkdir(parents=True)
    columns = (
        "| dataset | model | measure | stock RecBole | recbole-ext | ratio |\n" + "| --- " * 3 + "| ---: " * 3 + "|\n"
    )
    line = "| Scientific | SASRec | seconds per evaluation | 2.093 | 24,710 | 44.9 |\n"
    (results / "performance" / "cpu" / "table.md").write_text(columns + line, encoding="utf-8")
    write_report(benchmark.write())
    return benchmark.folder


@pytest.fixture(scope="module")
def contexts(browser: Any) -> Callable[[str], Any]:
    """A browser context for each script to run before the page's own: pages share it, as opening one takes long."""

    @cache
    def context(script: str) -> Any:
        context = browser.new_context()
        context.set_default_timeout(30_000)
        context.add_init_script(script)
        return context

    return context


@pytest.fixture
def opened(contexts: Callable[[str], Any], folder: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    """The benchmark's page at 1280 by 900; parametrise indirectly with a script to run before the page's own."""
    yield from _open(contexts(getattr(request, "param", "")), folder / "index.html")


@pytest.fixture
def above(contexts: Callable[[str], Any], folder: Path) -> Iterator[Opened]:
    """The page above all benchmarks."""
    yield from _open(contexts(""), folder.parent / "index.html")


def _open(context: Any, path: Path) -> Iterator[Opened]:
    opened = Opened(context.new_page())
    opened.page.set_viewport_size({"width": 1280, "height": 900})
    opened.page.on("request", lambda request: opened.requests.append(request.url))
    opened.page.on("pageerror", lambda error: opened.errors.append(str(error)))
    opened.page.on("console", lambda message: opened.errors.append(message.text))
    address = path.as_uri()
    opened.page.goto(address)
    yield opened
    opened.page.close()
    assert opened.errors == []
    assert [url for url in opened.requests if not url.startswith("data:")] == [address]
