/*
 * text_worker.c - tasks written in C, for clients in Python or in C.
 *
 *     with achar.Executor(program=["./text_worker"]) as ex:
 *         ex.submit("count", "so much text", "t").result()      # 2
 *         ex.submit("lengths", ["a", "bcd"]).result()           # {'a': 1, 'bcd': 3}
 */
#include <stdio.h>
#include <string.h>

#include <achar/achar.h>

/* count(text, letter): how often the letter stands in the text. */
static int count(achar_job *job, void *opaque)
{
    size_t text_nbytes, letter_nbytes;
    const char *text = achar_text(achar_job_arg(job, 0), &text_nbytes);
    const char *letter = achar_text(achar_job_arg(job, 1), &letter_nbytes);
    (void)opaque;
    if (text == NULL || letter == NULL)
        return achar_job_raise(job, "TypeError", "count() takes two str");
    if (letter_nbytes != 1)
        return achar_job_raise(job, "ValueError", "'%.*s' is no letter of one byte",
                               (int)letter_nbytes, letter);

    int64_t found = 0;
    for (size_t i = 0; i < text_nbytes; i++)
        found += text[i] == *letter;
    achar_job_return(job, achar_job_result(job), achar_make_int(found));
    return ACHAR_OK;
}

/* lengths(words): a dict from each word to its length in bytes. */
static int lengths(achar_job *job, void *opaque)
{
    achar_value words = achar_job_arg(job, 0);
    achar_graph *result = achar_job_result(job);
    achar_value dict = achar_make_dict(result);
    (void)opaque;
    for (size_t i = 0; i < achar_count(words); i++) {
        size_t nbytes;
        const char *word = achar_text(achar_item(words, i), &nbytes);
        if (word == NULL)
            return achar_job_raise(job, "TypeError", "item %zu is no str", i);
        achar_set(result, dict, achar_make_text(result, word, nbytes),
                  achar_make_int((int64_t)nbytes));
    }
    achar_job_return(job, result, dict);
    return ACHAR_OK;
}

int main(void)
{
    achar_worker *worker = NULL;
    int status = achar_worker_open(&worker);
    if (status != ACHAR_OK) {
        fprintf(stderr, "text_worker is started by a client of achar: %s\n",
                achar_status_message(status));
        return 2;
    }
    achar_worker_register(worker, "count", count, NULL);
    achar_worker_register(worker, "lengths", lengths, NULL);
    status = achar_worker_run(worker);
    achar_worker_close(worker);
    return status != ACHAR_OK;
}
