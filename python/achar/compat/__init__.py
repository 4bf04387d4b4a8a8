"""Other modules' names on achar, so that a program changes one import.

    import achar.compat.cloudpickle as cloudpickle
    import achar.compat.dill as dill
"""
