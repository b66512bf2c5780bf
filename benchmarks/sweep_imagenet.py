"""Sweep budgets with real calibration images and 500 ImageNet validation images as judges.

The baseline of stitching without training: the demo zoo, stitches fitted on the training images of
`../shared/images`, top-1 counted on its validation images. Writes one JSON file under
`benchmarks/results/`, with the machine and the versions.

    python benchmarks/sweep_imagenet.py [--size 224] [--points 6]
"""

import argparse
from pathlib import Path

from benchmarks.machine import machine
from benchmarks.result_files import write
from derycc.building import Request
from derycc.console import Bars, stdout
from derycc.options import default_home
from derycc.printing import candidate_data, donors_table
from derycc.printing_profile import profile_data
from derycc.printing_sweep import built_lines, point_data, sweep_table
from derycc.session import Options, open_workbench
from derycc.sweeping import default_budgets, donors_alone, sweep
from targets.target import get_target

IMAGES = Path(__file__).resolve().parent.parent.parent / "shared" / "images"
CALIBRATION = IMAGES / "imagenet_train500_1percls_288px.zip"
JUDGES = IMAGES / "imagenet_val500_10cls_224px.zip"
TARGET = "cpu:threads=1"


def main() -> None:
    """Run the sweep, print it, and write the result file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, action="append")
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--candidates", type=int, default=4)
    arguments = parser.parse_args()
    if not JUDGES.exists():
        print(f"skipped: the images are not there ({JUDGES.name})")
        return
    sizes = tuple(arguments.size or (224,))
    options = Options(
        default_home(), TARGET, sizes=sizes, data=CALIBRATION, judge_data=JUDGES, views=1
    )
    request = Request("", candidates=arguments.candidates)
    with open_workbench(options, Bars()) as bench:
        alone = donors_alone(bench)
        budgets = default_budgets(bench, request, alone, arguments.points)
        points = sweep(bench, request, budgets, alone)
        found = {
            "machine": machine(get_target(TARGET)),
            "images": {"calibration": CALIBRATION.name, "judges": JUDGES.name},
            "profile": profile_data(bench),
            "donors": [candidate_data(candidate) for candidate in alone],
            "points": [point_data(point) for point in points],
            "tried": [
                {
                    "budget": point.budget,
                    "expected": trial.expected,
                    "predicted_us": trial.predicted.median_us,
                    "within": trial.within,
                    **candidate_data(trial.candidate),
                }
                for point in points
                if point.built
                for trial in point.built.trials
            ],
        }
    out = stdout()
    out.print(donors_table(alone))
    out.print(sweep_table(found["points"]))
    print("\n".join(built_lines(found["points"])))
    write("sweep_imagenet", found)


if __name__ == "__main__":
    main()
