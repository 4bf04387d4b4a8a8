/*
 * sender.h - the label: who wrote a stream with code in it, and the versions of what it names.
 */
#ifndef ACHAR_PYTHON_BYVALUE_SENDER_H
#define ACHAR_PYTHON_BYVALUE_SENDER_H

#include "python/byvalue/byvalue.h"

/* What a label begins with; python/achar/_sender.py makes and reads the rest. */
#define BYVALUE_LABEL_MARK "achar:sender\n"

/* Remembers that the stream names something of this module. 0 or -1. */
int byvalue_note_module(byvalue_session *session, PyObject *module_name);

/* Remembers that 'obj' goes by name, and is sent itself: it is not what another's pickle calls. */
void byvalue_note_sent(byvalue_session *session, PyObject *obj);

/* 1 if byvalue_label() may have something to say, which can run Python code. */
int byvalue_wants_label(const byvalue_session *session);

/* '*label' is a new reference to bytes, or NULL where none is needed. 0 or -1. */
int byvalue_label(byvalue_session *session, PyObject **label);

#endif
