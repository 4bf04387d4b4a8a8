/* achar.h - all of libachar's public interface: pickle, in C, without Python. */
#ifndef ACHAR_ACHAR_H
#define ACHAR_ACHAR_H

#include <achar/status.h>

#endif
