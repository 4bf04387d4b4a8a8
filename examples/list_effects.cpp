/*
 * list_effects.cpp - what Python would do if it loaded the pickles in a file: from C++, and without
 * doing it.
 *
 *     list_effects FILE
 *
 * A line for each import, call and change of what a call made, in the order in which loading does
 * them, after the offset in the file.
 */
#include <cstdio>
#include <memory>
#include <string>

#include <achar/achar.h>

template <auto function> struct calls {
    template <typename T> void operator()(T *object) const
    {
        function(object);
    }
};
using file_handle = std::unique_ptr<FILE, calls<fclose>>;
using reader_handle = std::unique_ptr<achar_reader, calls<achar_reader_close>>;
using graph_handle = std::unique_ptr<achar_graph, calls<achar_graph_free>>;

static std::string text_of(achar_value value)
{
    size_t nbytes = 0;
    const char *text = achar_text(value, &nbytes);
    return text == nullptr ? "(computed)" : std::string(text, nbytes);
}

/* What a value would be: an import's name, the result of a call, or just its kind. */
static std::string describe(achar_value value)
{
    switch (achar_kind(value)) {
    case ACHAR_GLOBAL:
        return text_of(achar_module(value)) + "." + text_of(achar_name(value));
    case ACHAR_CALL:
        return "the result of " + describe(achar_callable(value));
    default:
        return achar_kind_name(achar_kind(value));
    }
}

static void print(const achar_effect &effect)
{
    std::string target = describe(effect.target);
    const char *what = "change";
    switch (effect.kind) {
    case ACHAR_EFFECT_IMPORT:
        what = "import";
        break;
    case ACHAR_EFFECT_CALL:
        what = "call";
        target = describe(achar_callable(effect.target));
        break;
    case ACHAR_EFFECT_EXTENSION:
    case ACHAR_EFFECT_PERSISTENT:
    case ACHAR_EFFECT_BUFFER:
        what = "ask the program for";
        break;
    }
    std::printf("%6llu  %s %s\n", static_cast<unsigned long long>(effect.offset), what,
                target.c_str());
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        std::fprintf(stderr, "usage: list_effects FILE\n");
        return 2;
    }
    file_handle file(std::fopen(argv[1], "rb"));
    achar_reader *opened = nullptr;
    if (file == nullptr || achar_reader_open_file(file.get(), nullptr, &opened) != ACHAR_OK) {
        std::perror(argv[1]);
        return 1;
    }
    reader_handle reader(opened);
    for (;;) {
        achar_error error;
        achar_graph *read = nullptr;
        if (achar_reader_next(reader.get(), &read, &error) != ACHAR_OK) {
            std::fprintf(stderr, "list_effects: offset %llu: %s\n",
                         static_cast<unsigned long long>(error.offset), error.message);
            return 1;
        }
        if (read == nullptr)
            return 0;
        graph_handle graph(read);
        achar_effect effect;
        for (size_t i = 0; i < achar_effects_count(read); i++)
            if (achar_effect_at(read, i, &effect) == ACHAR_OK && effect.kind != ACHAR_EFFECT_FILL)
                print(effect);
    }
}
