"""Runs the Lambda handler of a code folder, invoked as API Gateway does.

`python -I -S -B worker.py FOLDER`: each line of standard input is a request, {"event": ...,
"calls": ...}; each line of standard output that begins with "bench:" has its times. -I -S -B make
it like a Lambda: it can import only the code folder, and stores no bytecode.
"""

import json
import os
import sys
import time

sys.path.insert(0, sys.argv[1])
# One processor, as a Lambda of this size has, and both sides the same: they differ in speed.
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


class Context:
    """Lambda's context, with a fixed time left."""

    aws_request_id = "5b6e0a1c-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        return 27_000


def main() -> None:
    """Import the app, then serve the requests until standard input ends."""
    from app import app

    imported = time.process_time()
    for line in sys.stdin:
        request = json.loads(line)
        response, seconds, cpu_seconds = {}, [], []
        for _ in range(request["calls"]):
            started, cpu_started = time.perf_counter(), time.process_time()
            response = app(request["event"], Context())
            finished, cpu_finished = time.perf_counter(), time.process_time()
            seconds.append(finished - started)
            cpu_seconds.append(cpu_finished - cpu_started)
        report = {
            "status": response["statusCode"],
            "body": response["body"],
            "seconds": seconds,
            "cpu_seconds": cpu_seconds,
            # Processor time from the start of the process until the app was imported.
            "cpu_imported": imported,
            "peak_mb": peak_mb(),
        }
        print(f"bench:{json.dumps(report)}", flush=True)


def peak_mb() -> float:
    """The peak memory of this process. (getrusage includes its parent's.)"""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
