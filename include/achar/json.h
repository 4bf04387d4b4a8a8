/*
 * json.h - a graph as JSON, for programs and people who do not read pickle.
 *
 *     None, True, 1, 1.5, 'text'     null, true, 1, 1.5, "text"
 *     [1, 2]                         [1, 2]
 *     {'a': 1}                       {"a": 1}
 *     {1: 2}                         {"$dict": [[1, 2]]}      also if a key starts with $
 *     (1, 2)                         {"$tuple": [1, 2]}       likewise $set, $frozenset
 *     b'abc'                         {"$bytes": "YWJj"}       base64; likewise $bytearray
 *     float('nan')                   {"$float": "nan"}
 *     an import                      {"$import": ["module", "name"]}
 *     a call                         {"$call": callable, "form": "reduce", "arguments": […]}
 *     … whose result changes         {"$call": …, "changes": [{"build": state}, …]}
 *     a persistent id                {"$persistent": id}
 *     an extension code              {"$extension": 1}
 *     an out-of-band buffer          {"$buffer": 0, "readonly": true, "data": "YWJj"}
 *
 * Integers have all their digits. Lone surrogates appear as \ud800 and the like; where two in a row
 * would be read as one character, the text is {"$joined": ["\ud83d", "\ude00"]}. What is referred
 * to more than once has "$id": 1 (a list then is {"$id": 1, "$list": […]}, and a long text
 * {"$id": 1, "$str": "…"}) and is {"$ref": 1} everywhere else; so cycles end, and the output grows
 * with the graph and not with the number of ways through it. Where the pickle imports or calls
 * something and throws the result away, the whole is {"$value": …, "$discarded": […]}.
 */
#ifndef ACHAR_JSON_H
#define ACHAR_JSON_H

#include <achar/value.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * achar_json() writes the graph's root to 'sink' as one line of UTF-8 that ends in '\n'. Scratch
 * memory comes from 'allocator' (NULL: malloc). Returns ACHAR_OK, ACHAR_E_INVALID for a graph
 * without a root, ACHAR_E_IO if the sink stops, ACHAR_E_NOMEM.
 */
ACHAR_API int achar_json(achar_graph *graph, const achar_allocator *allocator,
                         const achar_sink *sink, achar_error *error);

#ifdef __cplusplus
}
#endif
#endif
