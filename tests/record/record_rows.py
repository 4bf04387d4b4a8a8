"""Reading what a record's file has."""

import sqlite3


def rows(path, query, *arguments):
    connection = sqlite3.connect(path, timeout=100)
    try:
        return connection.execute(query, arguments).fetchall()
    finally:
        connection.close()


def one(path, query, *arguments):
    (row,) = rows(path, query, *arguments)
    return row[0] if len(row) == 1 else row
