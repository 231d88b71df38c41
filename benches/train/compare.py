"""Runs the bench `train` and torch_peft.py in turn, and prints the times, the peak memories and their ratios.

Run by run.sh. The first step of each process, which packs weights and starts threads, is not counted.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

# A method, and whether the features of the images are cached, which torch does not do.
CASES = [("lora", True), ("lora", False), ("frozen-vision", True), ("frozen-vision", False), ("full", False)]
STEPS = "4"


def measure(command):
    environment = os.environ | {"RAYON_NUM_THREADS": "2"}
    result = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)
    return statistics.median(result["milliseconds"][1:]), result["peak_mib"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ours", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print("| method | features cached | ours, ms | torch, ms | ratio | ours, MiB | torch, MiB | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    for method, cached in CASES:
        pairs = []
        for _ in range(options.rounds):
            ours = [options.ours, "--bench", "--method", method, "--steps", STEPS] + ["--cached"] * cached
            torch = [sys.executable, "benches/train/torch_peft.py", "--method", method, "--steps", STEPS]
            pairs.append((measure(ours), measure(torch)))
        time, memory = ([statistics.median(pair[side][kind] for pair in pairs) for side in (0, 1)] for kind in (0, 1))
        print(f"| {method} | {'yes' if cached else 'no'} | {time[0]:.0f} | {time[1]:.0f} | {time[0] / time[1]:.2f} "
              f"| {memory[0]:.0f} | {memory[1]:.0f} | {memory[0] / memory[1]:.2f} |", flush=True)


if __name__ == "__main__":
    main()
