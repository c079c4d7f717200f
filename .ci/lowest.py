"""Print the lowest versions that pyproject.toml allows of what the package itself needs, as constraints for pip."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
extras = {
    name: needed
    for name, needed in project["optional-dependencies"].items()
    if name not in ("dev", "all", "bench", "bench-peers", "docs", "stock-clients")
}
for requirement in [*project["dependencies"], *(one for needed in extras.values() for one in needed)]:
    if match := re.match(r"([A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=([0-9.]+)", requirement):
        print(f"{match[1]}=={match[2]}")  # noqa: T201
