"""Makes the reference of the C interface from the comments in include/achar/*.h.

    python tools/make_reference.py             writes docs/reference/c.md
    python tools/make_reference.py --check     says what is wrong with the comments or out of date
    python tools/make_reference.py --man DIR   writes man pages: one a header, and a link a function

What it reads is the way the headers are written. A header opens with a comment about all of it. A
comment directly above one or several declarations, with no blank line between, is about these. A
`/* ---- title ---- */` begins a section. Lines that a comment indents by 4 stand as they are.

What it demands: each function, type, constant and macro has such a comment; the comment names every function
that it is about, as name(); each achar_name and ACHAR_NAME in a comment exists.
"""

import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "achar"
PAGE = ROOT / "docs" / "reference" / "c.md"

# What is no declaration: include guards, C++, and the word that exports.
SCAFFOLD = re.compile(r'#(if|ifdef|ifndef|else|elif|endif|include|undef|define ACHAR_(API|\w+_H)\b)|extern "C" \{|\}$')
SECTION = re.compile(r"/\* -+ (.*?) -+ \*/$")
FUNCTION = re.compile(r"^[^={]*?\b(achar_\w+)\(")
NAMED = re.compile(r"\b(achar_\w+|ACHAR_\w+)")


@dataclass
class Declaration:
    kind: str  # function, type, constant or macro
    name: str
    code: str  # as in the header; of a function only what a caller has to know
    line: int


@dataclass
class Entry:
    """A comment, as lines of text, and the declarations that it is about."""

    comment: list
    section: str
    declarations: list = field(default_factory=list)

    def names(self):
        return [one.name for one in self.declarations]


@dataclass
class Header:
    name: str
    title: str  # what its first comment says first
    about: list
    entries: list
    stray: list  # lines with comments that belong to nothing

    def functions(self):
        return [one.name for entry in self.entries for one in entry.declarations if one.kind == "function"]


# --- reading


def text_of(comment):
    """A comment's lines without its marks."""
    lines = [re.sub(r"^ \*(?: |$)", "", line) for line in comment]
    lines[0] = re.sub(r"^/\* ?", "", lines[0])
    lines[-1] = re.sub(r"\s*\*?/$", "", lines[-1]) if lines[-1].endswith("/") else lines[-1]
    # The second and later lines of a comment that begins on its first one.
    if lines[0].strip():
        lines[1:] = [re.sub(r"^ \* ?", "", line) for line in lines[1:]]
    while lines and not lines[0].strip():
        lines.pop(0)
    while lines and not lines[-1].strip():
        lines.pop()
    return [line.rstrip() for line in lines]


def last_line(lines, first):
    """Where the declaration that begins at lines[first] ends."""
    at = first
    if lines[first].startswith("#define"):
        while lines[at].endswith("\\"):
            at += 1
        return at
    braces = 0
    while True:
        code = re.sub(r"/\*.*?\*/", "", lines[at])
        braces += code.count("{") - code.count("}")
        done = code.rstrip().endswith((";", "}")) and (at > first or code.rstrip().endswith(";"))
        if braces == 0 and done:
            return at
        at += 1


def declaration(code, line):
    if code.startswith("#define"):
        return Declaration("macro", re.match(r"#define (\w+)", code)[1], code, line)
    function = FUNCTION.match(code.removeprefix("ACHAR_API "))
    if function and not code.startswith("typedef"):
        head = code.removeprefix("ACHAR_API ").removeprefix("static inline ")
        head = re.sub(r"\n\{.*", ";", head, flags=re.DOTALL)
        return Declaration("function", function[1], re.sub(r"\n +", "\n    ", head), line)
    if code.startswith("enum {"):
        return Declaration("constant", re.search(r"\bACHAR_\w+", code)[0], code, line)
    name = re.search(r"\benum (\w+) \{|\b(\w+);$|\(\*(\w+)\)", code)
    return Declaration("type", next(filter(None, name.groups())), code, line)


def read(path):
    lines = path.read_text().splitlines()
    entries, stray, section = [], [], ""
    about, open_comment, at = None, None, 0  # open_comment: the entry whose comment stands just above
    while at < len(lines):
        line = lines[at]
        if not line.strip():
            open_comment = None
        elif SECTION.match(line):
            section = SECTION.match(line)[1]
        elif line.startswith("/*"):
            end = at
            while not lines[end].endswith("*/"):
                end += 1
            comment = text_of(lines[at : end + 1])
            if about is None:
                about = comment
            else:
                following = lines[end + 1] if end + 1 < len(lines) else ""
                if not following.strip() or SCAFFOLD.match(following):
                    stray.append(at + 1)
                open_comment = Entry(comment, section)
                entries.append(open_comment)
            at = end
        elif not SCAFFOLD.match(line):
            end = last_line(lines, at)
            if open_comment is None:
                open_comment = Entry([], section)
                entries.append(open_comment)
            open_comment.declarations.append(declaration("\n".join(lines[at : end + 1]), at + 1))
            at = end
        at += 1
    title = re.sub(r"^\S+ - ", "", " ".join(about).split(". ")[0].split(".  ")[0]).rstrip(".") if about else ""
    return Header(path.name, title, about or [], [entry for entry in entries if entry.declarations], stray)


def findings(headers, constants):
    """What is wrong with the comments, a line each."""
    known = set(constants)
    for header in headers:
        known.update(name for entry in header.entries for name in entry.names())
    for header in headers:
        where = f"include/achar/{header.name}"
        if not header.about:
            yield f"{where}:1: it does not open with a comment about all of it"
        for line in header.stray:
            yield f"{where}:{line}: this comment belongs to no declaration (is there a blank line below?)"
        for entry in header.entries:
            text = " ".join(entry.comment)
            for one in entry.declarations:
                if not text:
                    yield f"{where}:{one.line}: {one.name} has no comment"
                elif one.kind == "function" and f"{one.name}()" not in text:
                    yield f"{where}:{one.line}: the comment above does not name {one.name}()"
        for comment, line in [(header.about, 1)] + [(e.comment, e.declarations[0].line) for e in header.entries]:
            for name in NAMED.findall(" ".join(comment)):
                if name not in known and not name.endswith("_"):
                    yield f"{where}:{line}: the comment names {name}, which does not exist"


def constants_of(folder):
    """Names that are declared inside of enums, structs and the tables that make enums."""
    names = set()
    for path in folder.glob("*.h"):
        text = path.read_text()
        names.update(re.findall(r"^\s+(ACHAR_\w+)\s*(?:=[^,]*)?,?", text, re.MULTILINE))
        for prefix in set(re.findall(r"\b(ACHAR_\w*)##name", text)):
            names.update(prefix + name for name in re.findall(r"\bX\((\w+),", text))
        names.update(re.findall(r"^#define (ACHAR_\w+)", text, re.MULTILINE))
        # types, and what stands inside of them
        names.update(re.findall(r"\b(achar_\w+)\b", re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)))
    return names


# --- a comment's text


def blocks(comment):
    """The comment as ("text", words) and ("code", lines)."""
    at = 0
    while at < len(comment):
        if not comment[at].strip():
            at += 1
        elif comment[at].startswith("    "):
            end = at
            while end < len(comment) and (comment[end].startswith("    ") or not comment[end].strip()):
                end += 1
            code = "\n".join(line[4:] for line in comment[at:end]).strip("\n")
            yield "code", code
            at = end
        else:
            end = at
            while end < len(comment) and comment[end].strip() and not comment[end].startswith("    "):
                end += 1
            yield "text", " ".join(line.strip() for line in comment[at:end])
            at = end


# --- Markdown

MARKDOWN_HEAD = """\
# The C interface

Made by `tools/make_reference.py` from the comments in `include/achar`; do not edit.
[Using libachar from C](../libachar.md) is the guide.
"""


def markdown_text(text, known):
    # 'name' and identifiers are code; a function's name leads to it.
    def one(match):
        quoted, function, identifier = match.groups()
        if quoted is not None:
            return f"`{quoted}`"
        if function is not None:
            name = function[:-2]
            return f"[`{function}`](#{name})" if name in known else f"`{function}`"
        return f"`{identifier}`"

    escaped = re.sub(r"(?<!\w)\*(?=\w)|<|_(?=\*)", lambda match: "\\" + match[0], text)
    return re.sub(r"'(\\?\*?[\w.>-]+(?:\(\))?)'|\b(achar_\w+\(\))|\b((?:achar|ACHAR)_\w+)", one, escaped).replace(
        "`\\*", "`*"
    )


def markdown(headers):
    known = {name for header in headers for name in header.functions()}
    lines = [MARKDOWN_HEAD]
    for header in headers:
        lines.append(f"- [achar/{header.name}](#{header.name.replace('.', '')}): {header.title}")
    for header in headers:
        lines += ["", f"## {header.name}", ""]
        about = list(header.about)
        about[0] = re.sub(r"^\S+ - ", "", about[0])
        about[0] = about[0][:1].upper() + about[0][1:]
        lines += markdown_blocks(about, known)
        section = ""
        for entry in header.entries:
            if entry.section != section:
                section = entry.section
                lines += [f"### {header.name}: {section}", ""]
            functions = [one.name for one in entry.declarations if one.kind == "function"]
            anchors = "".join(f'<a id="{name}"></a>' for name in functions)
            title = ", ".join(f"{one.name}{'()' * (one.kind == 'function')}" for one in entry.declarations)
            lines += [f"#### {anchors}{title}", "", "```c"]
            lines += ["\n".join(one.code for one in entry.declarations), "```", ""]
            lines += markdown_blocks(entry.comment, known)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def markdown_blocks(comment, known):
    for kind, content in blocks(comment):
        yield f"```text\n{content}\n```\n" if kind == "code" else markdown_text(content, known) + "\n"


# --- man pages


def roff(text):
    """'text' so that roff prints it as it is."""
    text = text.replace("\\", "\\e").replace("…", "...")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def roff_blocks(comment):
    for kind, content in blocks(comment):
        if kind == "code":
            yield f".Bd -literal -offset indent\n{roff(content)}\n.Ed"
        else:
            # mdoc wants a new line for each sentence.
            sentences = re.split(r"(?<=[.:!?)]) (?=[A-Z'(])", re.sub(r"(?<=[a-z)']\.) (?=\S)", "\n", content))
            yield ".Pp\n" + roff("\n".join(re.sub(r"(?<!\n)\n(?=[a-z])", " ", one) for one in sentences))


def man_page(header, version):
    stem = header.name.removesuffix(".h")
    names = header.functions() or [f"achar-{stem}"]
    title = header.title
    lines = [
        '.\\" Made by tools/make_reference.py from the header.',
        ".Dd $Mdocdate$",
        f".Dt ACHAR-{stem.upper()} 3",
        f".Os achar {version}",
        ".Sh NAME",
        *[f".Nm {name} ," for name in names[:-1]],
        f".Nm {names[-1]}",
        f".Nd {roff(title)}",
        ".Sh LIBRARY",
        "libachar: pkg-config --cflags --libs achar",
        ".Sh SYNOPSIS",
        f".In achar/{header.name}",
        ".Sh DESCRIPTION",
    ]
    about = list(header.about)
    about[0] = re.sub(r"^\S+ - ", "", about[0])
    about[0] = about[0][:1].upper() + about[0][1:]
    lines += list(roff_blocks(about))
    section = ""
    for entry in header.entries:
        if entry.section != section:
            section = entry.section
            lines.append(f".Ss {section[:1].upper()}{section[1:]}")
        lines += [".Bd -literal", roff("\n".join(one.code for one in entry.declarations)), ".Ed"]
        lines += list(roff_blocks(entry.comment))
    lines += [".Sh SEE ALSO", ".Xr libachar 3"]
    return "\n".join(lines) + "\n"


def main():
    # achar.h first, which says where to start; the others by name.
    headers = [read(path) for path in sorted(HEADERS.glob("*.h"), key=lambda path: (path.name != "achar.h", path.name))]
    wrong = list(findings(headers, constants_of(HEADERS)))
    page = markdown(headers)
    if "--check" in sys.argv:
        if not PAGE.exists() or PAGE.read_text() != page:
            wrong.append(f"{PAGE.relative_to(ROOT)} is out of date: python tools/make_reference.py")
        for finding in wrong:
            print(finding)
        print(f"{sum(len(header.functions()) for header in headers)} functions, {len(wrong)} findings")
        return 1 if wrong else 0
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
