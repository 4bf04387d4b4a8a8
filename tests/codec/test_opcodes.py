"""opcodes.def, column by column, against the standard library's own table."""

import pathlib
import pickletools
import re

SOURCE = pathlib.Path(__file__).parents[2] / "src" / "codec"

ROW = re.compile(r'^OPCODE\((\w+),\s+0x([0-9a-f]{2}),\s+(\d),\s+(\w+),\s+\(([\w, ]+)\),\s+\(([\w, ]+)\),\s+"(.*)"\)$')


def table():
    rows = []
    for line in (SOURCE / "opcodes.def").read_text().splitlines():
        if line.startswith("OPCODE("):
            row = ROW.match(line)
            assert row, f"not in the table's form: {line}"
            rows.append(row.groups())
    return rows


def header_list(macro):
    """The (name, second argument) pairs of an X-macro list in opcodes.h."""
    text = (SOURCE / "opcodes.h").read_text()
    body = re.search(rf"#define {macro}\(X\)((?:.*\\\n)*.*\n)", text).group(1)
    return re.findall(r'X\((\w+), "?(.*?)"?\)', body)


def test_every_attribute_of_every_opcode():
    texts = dict(header_list("STACK_KINDS"))

    def stack(names):
        return [texts[name] for name in names.split(", ") if name != "NOTHING"]

    ours = [
        (name, chr(int(byte, 16)), int(protocol), argument.lower(), stack(takes), stack(leaves), meaning)
        for name, byte, protocol, argument, takes, leaves, meaning in table()
    ]
    theirs = [
        (
            op.name,
            op.code,
            op.proto,
            op.arg.name if op.arg else "none",
            [x.name for x in op.stack_before],
            [x.name for x in op.stack_after],
            # 3.12 and older have a slip of the pen here.
            op.doc.split("\n", 1)[0].replace("found-byte", "four-byte"),
        )
        for op in pickletools.opcodes
    ]
    assert ours == theirs
    assert len(ours) == 68


def test_argument_widths():
    text = (SOURCE / "opcodes.h").read_text()
    symbols = {name: int(number) for name, number in re.findall(r"(ARGUMENT_\w+) = (-\d)", text)}
    widths = {
        name.lower(): symbols[width] if width in symbols else int(width)
        for name, width in header_list("ARGUMENT_KINDS")
    }
    assert widths.pop("none") == 0
    assert widths == {op.arg.name: op.arg.n for op in pickletools.opcodes if op.arg}
