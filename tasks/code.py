"""Stage `code`: writes digests of the code that each other stage can execute, as files below artifacts/code.

It always runs first. Unchanged files are not rewritten, so that nothing downstream runs.
"""

import sys
from pathlib import Path

from ganpress.errors import GanpressError
from ganpress.executed_code.digests import StageCode


def main() -> int:
    """Write all digests that dvc.yaml names; return 2 for an error that the user can fix, explained in one line on
    stderr.
    """
    try:
        code = StageCode(Path.cwd())
        code.write_all()
        code.save()
    except (GanpressError, OSError) as error:
        print(f"code: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
