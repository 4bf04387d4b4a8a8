"""Makes the reference of the C interface from the comments in include/achar/*.h.

    python tools/make_reference.py             writes docs/reference/c.md
    python tools/make_reference.py --check     says what is wrong with the comments or out of date
    python tools/make_reference.py --man DIR   writes man pages: one for each header, which its
                                               functions' names link to

What it reads is the way the headers are written. A header opens with a comment about all of it. A
comment directly above one or several declarations, with no blank line between, is about these. A
`/* ---- title ---- */` begins a section. Lines that a comment indents by 4 stand as they are.

What it demands: each function, type, constant and macro has such a comment; the comment names every function
that it is about, as name(); each achar_name and ACHAR_NAME in a comment exists.
"""

import argparse
import re
import sys
import textwrap
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADERS = ROOT / "include" / "achar"
PAGE = ROOT / "docs" / "reference" / "c.md"
OVERVIEW = ROOT / "docs" / "man" / "libachar.3"  # written by hand; the other pages take its date

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


def about(header):
    """A header's first comment, without the file's name."""
    first = re.sub(r"^\S+ - ", "", header.about[0])
    return [first[:1].upper() + first[1:], *header.about[1:]]


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
        lines += markdown_blocks(about(header), known)
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
    text = text.replace("\\", "\\e").replace("…", "...").replace("×", "x").replace("±", "+-")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def roff_line(text):
    """A sentence, its functions marked as such, in lines of at most 78 columns."""
    out, done = [], 0
    for match in re.finditer(r"(?:(?<=^)|(?<= )|(?<= \())(achar_\w+)\(\)([.,;:)]*)(?= |$)", text):
        before = text[done : match.start()].strip()
        opening = before.endswith("(")
        before = before.removesuffix("(").strip()
        out += [roff(textwrap.fill(before, 78, break_on_hyphens=False))] * bool(before)
        out.append(" ".join([".Pf ( Fn" if opening else ".Fn", match[1], *match[2]]))
        done = match.end()
    rest = text[done:].strip()
    return "\n".join(out + [roff(textwrap.fill(rest, 78, break_on_hyphens=False))] * bool(rest))


def roff_text(text):
    """A paragraph, each sentence on new lines, as mdoc wants it."""
    sentences = re.split(r"(?<=[a-z0-9)'\"][.?!]) (?=\S)|(?<=[A-Z]\.) (?=[A-Z])", text)
    return "\n".join(map(roff_line, sentences))


def roff_blocks(comment, about_first=False):
    for at, (kind, content) in enumerate(blocks(comment)):
        if kind == "code":
            yield f".Bd -literal -offset indent\n{roff(content)}\n.Ed"
        elif at == 0 and about_first:
            yield roff_text(content)
        else:
            yield f".Pp\n{roff_text(content)}"


def stem(header):
    """The name of a header's man page."""
    return f"achar-{header.name.removesuffix('.h')}"


def man_page(header):
    names = header.functions() or [stem(header)]
    lines = [
        '.\\" Made by tools/make_reference.py from the header.',
        re.search(r"^\.Dd .*", OVERVIEW.read_text(), re.MULTILINE)[0],
        f".Dt {stem(header).upper()} 3",
        ".Os",
        ".Sh NAME",
        *[f".Nm {name} ," for name in names[:-1]],
        f".Nm {names[-1]}",
        f".Nd {roff(header.title)}",
        ".Sh SYNOPSIS",
        f".In achar/{header.name}",
        ".Sh DESCRIPTION",
    ]
    lines += roff_blocks(about(header), about_first=True)
    section = ""
    for entry in header.entries:
        if entry.section != section:
            section = entry.section
            lines.append(f".Ss {section[:1].upper()}{section[1:]}")
        lines += [".Bd -literal", roff("\n".join(one.code for one in entry.declarations)), ".Ed"]
        lines += roff_blocks(entry.comment)
    return "\n".join([*lines, ".Sh SEE ALSO", ".Xr libachar 3"]) + "\n"


def man_pages(headers):
    """(file name, contents) of a page for each header, achar.h's being OVERVIEW, and a link for each function."""
    for header in headers:
        if header.name != "achar.h":
            yield f"{stem(header)}.3", man_page(header)
            for name in header.functions():
                yield f"{name}.3", f".so man3/{stem(header)}.3\n"


def main():
    # achar.h is the first by name, and says where to start.
    headers = [read(path) for path in sorted(HEADERS.glob("*.h"))]
    parser = argparse.ArgumentParser(description="Makes the reference of the C interface from its headers.")
    parser.add_argument("--check", action="store_true", help="say what is wrong with the comments or out of date")
    parser.add_argument("--man", type=Path, metavar="DIR", help="write man pages, not docs/reference")
    parser.add_argument("--list-man", action="store_true", help="print the names of the man pages")
    options = parser.parse_args()
    if options.list_man:
        print("\n".join(name for name, _ in man_pages(headers)))
    elif options.man:
        for name, contents in man_pages(headers):
            (options.man / name).write_text(contents)
    elif options.check:
        wrong = list(findings(headers, constants_of(HEADERS)))
        if not PAGE.exists() or PAGE.read_text() != markdown(headers):
            wrong.append(f"{PAGE.relative_to(ROOT)} is out of date: python tools/make_reference.py")
        for finding in wrong:
            print(finding)
        print(f"{sum(len(header.functions()) for header in headers)} functions, {len(wrong)} findings")
        return 1 if wrong else 0
    else:
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(markdown(headers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
