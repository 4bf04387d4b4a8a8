"""The golden pickles."""

import pathlib

FOLDER = pathlib.Path(__file__).parents[1] / "golden"
FILES = sorted(FOLDER.glob("*/*.pickle"))
IDS = [f"{file.parent.name}/{file.stem}" for file in FILES]
CASES = list(zip(FILES, IDS, strict=True))

# What pickle.loads cannot load on its own, with the reason.
NOT_LOADABLE = {
    "hand/persid": "persistent ids",
    "hand/binpersid": "persistent ids",
    "hand/ext": "extension codes",
    "hand/buffers": "out-of-band buffers",
    "hand/long4": "more digits than Python prints by default",
}
