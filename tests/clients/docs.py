"""Put the tested samples into docs/callers.md: each block after a line `<!-- file: ... -->` is that file, as it is.

python -m tests.clients.docs
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CALLERS = ROOT / "docs" / "callers.md"

_BLOCK = re.compile(r"(<!-- file: (\S+) -->\n+```\w+\n).*?(^```$)", re.DOTALL | re.MULTILINE)


def included(text: str) -> list[str]:
    """Return the files that this text includes, relative to the repository."""
    return [match[2] for match in _BLOCK.finditer(text)]


def render(text: str) -> str:
    """Return the text with every included file as it stands now."""
    return _BLOCK.sub(lambda match: match[1] + (ROOT / match[2]).read_text(encoding="utf-8") + match[3], text)


if __name__ == "__main__":
    CALLERS.write_text(render(CALLERS.read_text(encoding="utf-8")), encoding="utf-8")
