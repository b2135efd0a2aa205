"""Claims about factory.progress."""

import subprocess
import sys

TELLS = "from factory.progress import print_lines, tell, warn\n{}\ntell('step 1'); warn('a %s b')"


def printed(before: str) -> tuple[str, str]:
    """What a process prints on stdout and stderr that logs two lines after some code."""
    code = [sys.executable, "-c", TELLS.format(before)]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    return done.stdout, done.stderr


def test_a_program_that_does_not_ask_for_progress_sees_warnings_alone() -> None:
    assert printed("") == ("", "warning: a %s b\n")


def test_a_program_may_take_lines_by_its_own_logging() -> None:
    logged = "import logging; logging.basicConfig(level='INFO', format='%(name)s: %(message)s')"
    assert printed(logged) == ("", "factory: step 1\nfactory: warning: a %s b\n")


def test_commands_print_progress_and_what_they_warn_of_apart() -> None:
    assert printed("print_lines(); print_lines()") == ("step 1\n", "warning: a %s b\n")
