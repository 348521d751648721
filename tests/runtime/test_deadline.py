"""Ending a process by force, whatever its threads do: a process each."""

import os
import subprocess
import sys
import textwrap

import pytest

LONG = 90


def ended(code, **options):
    begin = """
        import os, sys, threading, time
        from installation.runtime.deadline import at_force_exit, deadline, force_exit
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(begin) + textwrap.dedent(code)],
        check=False,
        text=True,
        timeout=LONG,
        **({"capture_output": True} | options),
    )


def test_what_takes_too_long_ends_the_process_with_one_line():
    ran = ended("""
        with deadline(0.2, "it hangs;\\nrestart it", 75):
            time.sleep(3600)
    """)
    assert (ran.returncode, ran.stderr) == (75, "installation: it hangs; restart it\n")


def test_what_is_done_in_time_goes_on():
    ran = ended("""
        with deadline(0.2, "it hangs", 75):
            pass
        time.sleep(0.5)
    """)
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.parametrize("last", ["1 / 0", "time.sleep(3600)", "sys.exit()"])
def test_callbacks_are_called_and_cannot_keep_it(last):
    ran = ended(f"""
        def fail():
            {last}
        with at_force_exit(fail), at_force_exit(lambda: print("called", flush=True)):
            with at_force_exit(lambda: print("not any more", flush=True)):
                pass
            force_exit("over", 3)
    """)
    assert (ran.returncode, ran.stdout, ran.stderr) == (3, "called\n", "installation: over\n")


def test_a_standard_error_that_nobody_reads_cannot_keep_it():
    read, write = os.pipe()
    try:
        ran = ended(
            """
            os.set_blocking(2, False)
            try:
                while os.write(2, bytes(4096)):
                    pass
            except BlockingIOError:
                os.set_blocking(2, True)
            # As a thread does that waits for the reader.
            threading.Thread(target=sys.stderr.write, args=["x" * 9000], daemon=True).start()
            with deadline(0.2, "over", 3):
                time.sleep(3600)
            """,
            capture_output=False,
            stderr=write,
        )
    finally:
        os.close(read)
        os.close(write)
    assert ran.returncode == 3
