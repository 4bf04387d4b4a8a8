"""The program in docs/how-pickling-works.md prints what stands there."""

import pathlib
import re

from byvalue_support import run_python

PAGE = pathlib.Path(__file__).parents[2] / "docs" / "how-pickling-works.md"


def test_the_explained_function(tmp_path):
    script, output = re.search(r"^```python\n(.*?)^```\n\n```text\n(.*?)^```", PAGE.read_text(), re.M | re.S).groups()
    file = tmp_path / "example.py"
    file.write_text(script)
    printed = run_python(str(file)).stdout.decode()
    # Sizes depend on the version of Python, and on the path of the file.
    without_sizes = [re.sub(r"[\d,]+ bytes", "N bytes", text) for text in (printed, output)]
    assert without_sizes[0] == without_sizes[1]
    assert "N bytes in all" in without_sizes[0]
