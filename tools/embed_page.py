"""Makes a C header of a script and a style sheet: their text, and the hashes by which a page allows
them and no others.

    python embed_page.py SCRIPT STYLE HEADER
"""

import base64
import hashlib
import pathlib
import sys


def c_string(text):
    """As adjacent literals, a line each: compilers limit the length of one."""
    lines = text.splitlines(keepends=True)
    escaped = [
        line.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("??", '?""?') for line in lines
    ]
    return "\n".join(f'    "{line}"' for line in escaped)


def main(script, style, header):
    out = ["/* Made by tools/embed_page.py. */"]
    for name, path in [("script", script), ("style", style)]:
        data = pathlib.Path(path).read_bytes()
        # In the page the text stands between tags; it must not end them itself.
        assert b"</" not in data and b"<!--" not in data and b"\r" not in data, path
        digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
        out.append(f"static const char page_{name}[] =\n{c_string(data.decode())};")
        out.append(f'static const char page_{name}_hash[] = "sha256-{digest}";')
    pathlib.Path(header).write_text("\n".join(out) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
