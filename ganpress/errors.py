"""All errors that a user can cause or fix; each message says what is wrong, what was found, what is allowed and what
to do.
"""


class GanpressError(Exception):
    """Base class of all errors that end in one clear line and exit code 2, never in a traceback."""

    def __str__(self) -> str:
        """Return the message made safe for a terminal, because names in files may contain control characters."""
        return _printable(super().__str__())


class ConfigError(GanpressError):
    """A parameter, recipe or command line is wrong."""


class DataError(GanpressError):
    """Raw or prepared data is missing, unreadable, truncated or too small."""


class CheckpointError(GanpressError):
    """A model file or training checkpoint cannot be read or belongs to something else."""


class BudgetError(GanpressError):
    """No generator can meet the budget."""


class TrainingDiverged(GanpressError):
    """A loss became NaN or infinite."""


class ExportMismatch(GanpressError):
    """An edge file does not compute what the torch generator computes."""


class QualityGateFailed(GanpressError):
    """A declared expectation on data or metrics does not hold."""


class ServiceUnavailable(GanpressError):
    """A tracking server, Prefect API or port cannot be used."""


class StateDamaged(GanpressError):
    """A state file is empty, truncated or noise, and a person must decide what to do."""


class CodeChanged(GanpressError):
    """The code of a stage was edited while it ran, so that it is unknown which code made its outputs."""


class WorkerDied(GanpressError):
    """A process that did part of the work was killed."""


LONGEST_QUOTE = 120
"""Largest number of characters of a foreign text that a message repeats."""


def shown(text: object, longest: int = LONGEST_QUOTE) -> str:
    """Return a text from a file as a message may repeat it: printable, on one line and short."""
    printable = _printable(str(text)[: longest + 1].replace("\n", r"\n"))
    return printable if len(printable) <= longest else f"{printable[:longest]}…"


def _printable(text: str) -> str:
    return "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
