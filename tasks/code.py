"""Stage `code`: what Python can execute in each other stage, as a file of digests below artifacts/code.

It runs always and comes first. Files that say the same stay as they are, so that nothing downstream runs for it.
"""

import sys
from pathlib import Path

from ganpress.errors import GanpressError
from ganpress.executed_code.digests import StageCode


def main() -> int:
    """Write all digests that dvc.yaml names; 2: the user can fix it, one line on stderr says how."""
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
