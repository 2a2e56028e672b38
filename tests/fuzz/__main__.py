"""script/fuzz: coverage-guided fuzzing of one parser by atheris, which keeps what leads to new code."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["guard"]):
    from tests.fuzz.targets import TARGETS, run, seeds

LONGEST = 65_536


def main():
    """Read the command line, and fuzz until the time is over or something comes out that may not."""
    parser = argparse.ArgumentParser(prog="script/fuzz", description="Fuzz a parser, guided by coverage.")
    parser.add_argument("name", choices=sorted(TARGETS))
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--keep", type=Path, help="folder for the corpus; it begins with the seeds and goes on there")
    asked = parser.parse_args()
    logging.disable()  # of each state that is set aside there is a line
    folder = asked.keep or Path(tempfile.mkdtemp(prefix="astguard-fuzz-"))
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds(asked.name)):
        (folder / f"seed-{number}").write_bytes(data[:LONGEST])
    atheris.Setup(
        [
            sys.argv[0], str(folder), f"-max_total_time={asked.seconds}", f"-max_len={LONGEST}", "-timeout=10",
            "-rss_limit_mb=1024", f"-artifact_prefix={folder}/found-", "-print_final_stats=1",
        ],
        lambda data: run(asked.name, data),
    )  # fmt: skip
    atheris.Fuzz()


if __name__ == "__main__":
    main()
