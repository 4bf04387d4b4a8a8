/*
 * achar.h - all of libachar's public interface: pickle, in C, without Python.
 *
 * A program that reads pickles starts at read.h and value.h, one that writes them at build.h and
 * write.h. shapes.h and arrays.h know what datetimes, Decimals, numpy's arrays and the like are. A
 * program that does tasks for a client starts at worker.h, one that has them done at client.h.
 */
#ifndef ACHAR_ACHAR_H
#define ACHAR_ACHAR_H

#include <achar/arrays.h>
#include <achar/build.h>
#include <achar/client.h>
#include <achar/dis.h>
#include <achar/json.h>
#include <achar/memory.h>
#include <achar/read.h>
#include <achar/shapes.h>
#include <achar/status.h>
#include <achar/sync.h>
#include <achar/trace.h>
#include <achar/value.h>
#include <achar/version.h>
#include <achar/worker.h>
#include <achar/write.h>

#endif
