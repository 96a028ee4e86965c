/* The crash shim: one counter over every call that changes what lies under the work roots.
 *
 * shim.c owns the counter, the question "does this call count?" and the answer "what happens to it";
 * calls.c owns the interposed calls and asks shim.c once for each. Laws are at the head of shim.c. */

#ifndef CRASH_SHIM_SHIM_H
#define CRASH_SHIM_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <stddef.h>

/* What the wrapper must do with its call. */
enum verdict {
    PASS,           /* make the call */
    PASS_THEN_DIE,  /* make the call, then SIGKILL */
    FAIL,           /* do not make it; answer -1 with failure_number() */
    HALF,           /* transfer the first half only and say so: a short write */
    HALF_THEN_DIE,  /* transfer the first half, then SIGKILL: a torn write */
};

/* What kind of call it is: decides which modes apply. */
enum effect {
    CHANGES,    /* names, attributes, flushes */
    ALLOCATES,  /* may need space: ENOSPC applies */
    TRANSFERS,  /* allocates and carries bytes: torn and short apply too */
};

enum verdict enter_fd(const char *call, enum effect effect, int fd, size_t bytes);
enum verdict enter_path(const char *call, enum effect effect, int directory, const char *path);
enum verdict enter_two(const char *call, enum effect effect, int old_directory, const char *old_path,
                       int new_directory, const char *new_path);
/* For calls whose name depends on what is there: 'f' 'd' 'l' 's' or '-' (absent). */
char kind_at(int directory, const char *path);
int failure_number(void);
void die(void) __attribute__((noreturn));

#endif
