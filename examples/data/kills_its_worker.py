# index: segfault
"""Stands for any input that crashes native code: index_file() sees the first line and dies of it."""
