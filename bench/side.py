"""One side of a comparison: the Lambda handler of a code folder, invoked as API Gateway does.

`python -I -S -B side.py FOLDER`: each line of standard input is a request, {"event": ..., "calls":
...}; each line of standard output that begins with "bench:" is what it took. -I -S -B are what a
Lambda is like: nothing to import but the code folder, and no bytecode kept.
"""

import json
import sys
import time

sys.path.insert(0, sys.argv[1])


class Context:
    """Lambda's context, with a fixed time left."""

    aws_request_id = "5b6e0a1c-0000-4000-8000-000000000000"

    def get_remaining_time_in_millis(self) -> int:
        """The milliseconds that are left."""
        return 29_000


def main() -> None:
    """Import the app, then answer the requests until standard input ends."""
    from app import app

    for line in sys.stdin:
        request = json.loads(line)
        answer, seconds = {}, []
        for _ in range(request["calls"]):
            started = time.perf_counter()
            answer = app(request["event"], Context())
            finished = time.perf_counter()
            seconds.append(finished - started)
        report = {
            "status": answer["statusCode"],
            "body": answer["body"],
            "seconds": seconds,
            # The clock that the parent reads too: it counts from the machine's start.
            "finished": finished,
            "peak_mb": peak_mb(),
        }
        print(f"bench:{json.dumps(report)}", flush=True)


def peak_mb() -> float:
    """The most memory that this process ever held. (getrusage would count its parent's, too.)"""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


if __name__ == "__main__":
    main()
