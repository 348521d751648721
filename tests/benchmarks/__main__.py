"""The quality report: words, verdicts and tracking, one table after the other.

    python -m tests.benchmarks

Photographs and videos come from pinned packages; the report names what the other trackers need.
"""

from tests.benchmarks import tracking, verdicts, words

for part in (words, verdicts, tracking):
    title = (part.__doc__ or "").splitlines()[0]
    print(f"\n{title}\n", flush=True)
    part.main()
