"""A hundred examples of the crawl over spoiled files; bench/fuzz/crawl.py runs thousands."""

from pathlib import Path

from bench.fuzz.crawl import complete_base, crawl
from spider_jax.spider.spider import Spider

HANG = 120.0  # seconds: under any load only a hang takes so long


def test_spoiled_files_are_one_line(small_zoo: Path, spider: Spider, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    small_zoo.rename(folder / "zoo")
    spider.save(folder / "spider")
    ends, wrong = crawl(complete_base(folder, "apples"), range(100), HANG)
    assert wrong == []
    assert set(ends) == {"0", "2", "3"}  # some damage is not seen, some costs all, some a part
