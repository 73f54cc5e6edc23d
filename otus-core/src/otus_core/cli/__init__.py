"""The command ``otus``: one module a command group, imported when it is used.

Exit status: 0 good, 1 the operation failed (of ``otus status``: something is down), 2 usage, 3 daemon not running.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from otus_core.cli.output import OutputClosed, wants_json

DEBUG = "OTUS_DEBUG"
# 130 is 128 + SIGINT, as shells tell it of a command that Ctrl-C ended.
FAILED, INTERRUPTED = 1, 130
COLLECT_AFTER = (200_000, 10, 10)
"""Containers made and not given back before cycles are looked for: looking through what imports leave takes a tenth of
a short command.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``otus`` with these arguments, ``sys.argv``'s unless given; returns the exit status.

    Errors are told in a line each on stderr.
    """
    gc.set_threshold(*COLLECT_AFTER)
    _hold_standard_files()
    with suppress(AttributeError):  # what a test has put in its place
        sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]  # in encodings that know no arrows
    from otus_core.cli.app import run_app
    from otus_core.errors import OtusError

    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        status = run_app(given)
        sys.stdout.flush()
        return status
    # `otus run … | head` has what it wanted: no error, and no word.
    except (BrokenPipeError, OutputClosed):
        _let_go_of_output()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OtusError as error:
        _raise_if_debugging()
        _complain(_describe(error, wants_json(given)))
        return error.exit_status
    except OSError as error:  # the system's refusal, of a full disk for one, is no defect
        _raise_if_debugging()
        _let_go_of_output()
        _complain(f"otus: {error.filename or 'standard output'}: {error.strerror or error}\n")
        return FAILED
    except Exception as error:
        _raise_if_debugging()
        _complain(f"otus: internal error: {type(error).__name__}: {error}\n")
        _complain(f"otus: this is a bug; {DEBUG}=1 shows where it happened\n")
        return FAILED
    finally:
        gc.freeze()  # the process ends: what is there need not be looked through once more


def _hold_standard_files() -> None:
    """Have standard input, output and error open, as nothing where the caller closed them (``>&-``): else a socket or a
    log file would get their numbers, and what is printed.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free, which is this one
            os.set_inheritable(descriptor, True)
        if getattr(sys, name) is None:
            setattr(sys, name, open(descriptor, "w" if descriptor else "r", closefd=False))  # noqa: SIM115 - for as long as the process lives


def _complain(text: str) -> None:
    """Write to standard error, as far as anybody takes it: the exit status says the rest."""
    with suppress(OSError):
        sys.stderr.write(text)
        sys.stderr.flush()


def _let_go_of_output() -> None:
    """Nobody takes what is printed: what is left of it is thrown away, and not tried again at the end of
    the process.
    """
    with suppress(OSError):
        sys.stdout.flush()
    # Python flushes sys.stdout once more at exit, and would complain then.
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


def _describe(error: Exception, as_json: bool) -> str:
    """Give an error as lines for people, or as one JSON object a line for programs."""
    if not as_json:
        return "".join(f"otus: {line}\n" for line in str(error).splitlines())
    import json

    problems = [{"path": one.path, "message": one.message} for one in getattr(error, "problems", ())]
    about = {"type": type(error).__name__, "message": str(error), "problems": problems}
    return json.dumps({"error": about}) + "\n"


def _raise_if_debugging() -> None:
    if os.environ.get(DEBUG):
        raise  # noqa: PLE0704 - called from an except block, to show the traceback
