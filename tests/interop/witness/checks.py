"""Named checks: one line for each, and their number. A failed check never stops the ones after it."""


class Failure(Exception):
    """Why a check failed."""


def that(holds, reason):
    if not holds:
        raise Failure(reason)


class Checks:
    def __init__(self):
        self.passed = 0
        self.failed = 0

    def check(self, name, body):
        try:
            body()
        except Failure as failure:
            self.line(f"FAIL {name}: {failure}")
        except Exception as error:
            self.line(f"FAIL {name}: {error!r}")
        else:
            self.line(f"PASS {name}")

    def line(self, line):
        """Prints a line, and counts it if it is a check's: the client program makes its own."""
        self.passed += line.startswith("PASS ")
        self.failed += line.startswith("FAIL ")
        print(line.replace("\n", " "), flush=True)

    def totals(self):
        print(f"{self.passed} passed, {self.failed} failed", flush=True)
