/*
 * names.c - paths, and members of enums: what is known by a name or a value.
 */
#include "codec/shapes/shapes.h"

int achar_as_path(achar_graph *graph, achar_value value, achar_path *out, achar_error *error)
{
    look l;
    int status = achar__look(&l, graph, value, ACHAR_SHAPE_PATH, error);
    if (status == ACHAR_OK)
        status = achar__look_unchanged(&l);
    if (status != ACHAR_OK)
        return status;
    for (size_t i = 0; i < achar_count(l.arguments); i++)
        if (achar_kind(look_argument(&l, i)) != ACHAR_STR)
            return achar__refuse(&l, ACHAR_E_SHAPE, "a part of it is no text");
    out->windows = l.callable == KNOWN_WINDOWS_PATH || l.callable == KNOWN_PURE_WINDOWS_PATH;
    out->pure = l.callable == KNOWN_PURE_POSIX_PATH || l.callable == KNOWN_PURE_WINDOWS_PATH;
    out->parts = l.arguments;
    return ACHAR_OK;
}

achar_value achar_make_path(achar_graph *graph, const char *text)
{
    achar_value part = achar_make_str(graph, text);
    return achar__call_known(graph, KNOWN_PURE_POSIX_PATH, &part, 1);
}

int achar_as_member(achar_graph *graph, achar_value value, achar_member *out, achar_error *error)
{
    look l = {.graph = graph, .value = value, .error = error};
    achar_value callable = achar_callable(value);
    l.arguments = achar_arguments(value);
    if (achar_call_form(value) != ACHAR_CALL_REDUCE || achar_kind(callable) != ACHAR_GLOBAL ||
        achar_kind(l.arguments) != ACHAR_TUPLE)
        return achar__refuse(&l, ACHAR_E_TYPE, "no member of an enum");
    int status = achar_first_change(graph, value, &l.change);
    if (status != ACHAR_OK)
        return achar__refuse(&l, status, "%s", achar_status_message(status));
    if (l.change != ACHAR_NO_EFFECT)
        return achar__refuse(&l, ACHAR_E_TYPE, "no member of an enum: it changes");
    achar_value first = look_argument(&l, 0), second = look_argument(&l, 1);
    if (achar__known(graph, callable) == KNOWN_GETATTR) {
        if (achar_count(l.arguments) != 2 || achar_kind(first) != ACHAR_GLOBAL ||
            achar_kind(second) != ACHAR_STR)
            return achar__refuse(&l, ACHAR_E_TYPE, "no member of an enum");
        *out = (achar_member){first, achar_nothing(), second};
    } else {
        if (achar_count(l.arguments) != 1)
            return achar__refuse(&l, ACHAR_E_TYPE, "no member of an enum");
        *out = (achar_member){callable, first, achar_nothing()};
    }
    return ACHAR_OK;
}

achar_value achar_make_member(achar_graph *graph, const char *module, const char *type,
                              achar_value value)
{
    return achar_make_call(graph, ACHAR_CALL_REDUCE, achar_make_global(graph, module, type),
                           achar_make_tuple(graph, &value, 1), achar_nothing());
}
