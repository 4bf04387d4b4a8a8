"""The strict stand-in for the standard ``pickle``: same names, same bytes, same errors."""
