"""What is told of the output of a worker that ended."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from aiauto.server.executors.ends import End, with_output
from aiauto.server.executors.last_words import LINES, last_words


def printed_by(program: str) -> str:
    ended = subprocess.run(
        [sys.executable, "-u", "-X", "faulthandler", "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ended.returncode != 0
    return ended.stdout


CRASH = """
    import ctypes, threading, time

    def rests():
        time.sleep(60)

    def innermost():
        ctypes.string_at(0)

    def deeper(depth):
        deeper(depth - 1) if depth else innermost()

    thread = threading.Thread(target=rests, daemon=True)
    thread.start()
    for line in range(50):
        print("line", line)
"""


def test_a_traceback_is_told_from_its_end() -> None:
    printed = printed_by("for line in range(50): print('line', line)\n1 / 0")
    lines = last_words(printed).splitlines()
    assert len(lines) == LINES
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert "line 49" in lines


def test_a_crash_is_told_from_its_innermost_call() -> None:
    lines = last_words(printed_by(CRASH + "\n    deeper(70)")).splitlines()
    fatal = lines.index("Fatal Python error: Segmentation fault")
    assert "line 49" in lines[:fatal]
    assert "line 30" not in lines
    assert any(line.endswith(" in innermost") for line in lines)
    assert len(lines) <= LINES + 10


def test_a_crash_is_told_of_the_thread_that_died() -> None:
    told = last_words(printed_by(CRASH + "\n    deeper(1)"))
    assert "in innermost" in told
    assert "in rests" not in told
    assert "C stack" not in told
    assert "Extension modules" not in told


def test_an_abort_is_told_likewise() -> None:
    told = last_words(printed_by("def aborts():\n  import os\n  os.abort()\naborts()"))
    assert told.startswith("Fatal Python error: Aborted")
    assert "in aborts" in told


DUMP = """\
Epoch 3
Fatal Python error: Segmentation fault

Thread 0x00007f5a4b7fe6c0 [heartbeat] (most recent call first):
  File "heartbeat.py", line 9 in beat

Current thread 0x00007fccabefe740 [worker] (most recent call first):
  Garbage-collecting
  File "model.py", line 12 in forward
  File "train.py", line 3 in objective

Current thread's C stack trace (most recent call first):
  Binary file "/usr/bin/python3.14", at _Py_DumpStack+0x4a [0x499c1d]
  <truncated rest of calls>

Extension modules: {modules} (total: 999)
"""


def test_names_of_extension_modules_do_not_crowd_out_the_stack() -> None:
    told = last_words(DUMP.format(modules=", ".join(f"torch._C.number_{n}" for n in range(999))))
    assert told.splitlines() == [
        "Epoch 3",
        "Fatal Python error: Segmentation fault",
        "",
        "Current thread 0x00007fccabefe740 [worker] (most recent call first):",
        "  Garbage-collecting",
        '  File "model.py", line 12 in forward',
        '  File "train.py", line 3 in objective',
    ]


def test_where_no_thread_is_said_to_have_died_all_are_told() -> None:
    told = last_words(
        "Fatal Python error: none_dealloc: deallocating None\n"
        "Python runtime state: initialized\n\n"
        'Thread 0x01 (most recent call first):\n  File "a.py", line 1 in a\n\n'
        'Thread 0x02 (most recent call first):\n  File "b.py", line 1 in b\n'
    )
    assert "in a" in told
    assert "in b" in told


def test_a_crash_that_was_outlived_is_no_end() -> None:
    printed = DUMP.format(modules="numpy") + "a process of the objective crashed\n" * LINES
    assert last_words(printed).splitlines() == ["a process of the objective crashed"] * LINES


def test_the_length_is_bounded() -> None:
    assert len(last_words("x" * 100_000)) == 8 * 1024
    dump = "Fatal Python error: Aborted\n\nStack (most recent call first):\n  " + "x" * 100_000
    assert len(last_words(dump)) == 8 * 1024


def test_an_end_without_a_word() -> None:
    sentence = End(exit_code=7).sentence
    assert with_output(sentence, "  \n") == sentence
    assert with_output(sentence, "why\n").endswith("The end of its output:\n\nwhy")
