/* Counting, deciding, recording. See shim.h for who owns what.
 *
 * Laws
 * H1. Every counted call takes exactly one number, from one counter for all threads (and, with a counter
 *     file, for all processes), before anything happens to it.
 * H2. A call counts when a path or descriptor of it lies under a root and does not end in "-shm", nor lie in a
 *     home's "logs": a thread of its own writes there, whenever it comes to it, and nothing that
 *     must last. With it, the numbers of all other calls would change from run to run.
 * H3. A call that was struck is written to the log, by name, before it is struck.
 * H4. Without a counter file only the armed process counts: children of it run bare.
 * H5. errno is as the caller left it whenever the call is passed on.
 *
 * Armed by the environment in a constructor, or by noodle_crash_configure and noodle_crash_arm after a fork. */

#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOTS_MAX 8
#define LINE_BYTES_MAX (8 * PATH_MAX)

enum mode { IDLE, RECORD, KILL, KILL_AFTER, ERROR, TORN, SHORT, STOP, MODES };
static const char *const mode_names[MODES] = {"idle", "record", "kill",  "kill_after",
                                              "error", "torn",  "short", "stop"};

static struct {
    enum mode mode;
    unsigned long at;        /* the number struck */
    unsigned long repeat;    /* how many numbers in a row; 0: all from there on */
    int error_number;
    int whole_group;         /* SIGKILL the process group, not only this process */
    int shared;
    int roots;
    char root[ROOTS_MAX][PATH_MAX];
    char log[PATH_MAX];
} state;

static atomic_ulong own_counter;
static atomic_ulong *counter = &own_counter;

/* The shim's own calls must not meet its wrappers. */
static long bare(long number, long a, long b, long c, long d) {
    static long (*next_syscall)(long, ...);
    if (!next_syscall) next_syscall = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
    return next_syscall(number, a, b, c, d);
}

int failure_number(void) { return state.error_number; }

void die(void) {
    kill(state.whole_group ? 0 : getpid(), SIGKILL);
    for (;;) pause();
}

/* ---- where a call points -------------------------------------------------------------------------- */

struct place {
    int root; /* -1: not under any */
    char kind;
    char path[PATH_MAX];
    const char *relative;
};

static char kind_of(const struct stat *status) {
    if (S_ISREG(status->st_mode)) return 'f';
    if (S_ISDIR(status->st_mode)) return 'd';
    return S_ISLNK(status->st_mode) ? 'l' : 's';
}

char kind_at(int directory, const char *path) {
    struct stat status;
    int saved = errno;
    char kind = fstatat(directory, path, &status, AT_SYMLINK_NOFOLLOW) == 0 ? kind_of(&status) : '-';
    errno = saved;
    return kind;
}

static int descriptor_path(int fd, char *path) {
    char link[64];
    if (fd == AT_FDCWD) return getcwd(path, PATH_MAX) ? 0 : -1;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return -1;
    path[length] = 0;
    static const char deleted[] = " (deleted)";
    size_t tail = sizeof deleted - 1;
    if ((size_t)length > tail && strcmp(path + length - tail, deleted) == 0) path[length - tail] = 0;
    return 0;
}

static void find_root(struct place *place) {
    size_t length = strlen(place->path);
    place->root = -1;
    if (length >= 4 && strcmp(place->path + length - 4, "-shm") == 0) return;
    for (int root = 0; root < state.roots; root++) {
        size_t prefix = strlen(state.root[root]);
        if (strncmp(place->path, state.root[root], prefix) != 0) continue;
        if (place->path[prefix] != 0 && place->path[prefix] != '/') continue;
        place->root = root;
        place->relative = place->path[prefix] ? place->path + prefix + 1 : ".";
        if (strncmp(place->relative, "logs/", 5) == 0 || strstr(place->relative, "home/logs/")) place->root = -1;
        return;
    }
}

static void locate_fd(struct place *place, int fd) {
    struct stat status;
    place->root = -1;
    if (descriptor_path(fd, place->path) != 0) return;
    find_root(place);
    if (place->root >= 0) place->kind = fstat(fd, &status) == 0 ? kind_of(&status) : '-';
}

/* The parent is resolved, the last name is not: calls on a link act on the link's own place. */
static void locate_path(struct place *place, int directory, const char *path) {
    char joined[2 * PATH_MAX], parent[PATH_MAX];
    place->root = -1;
    if (!path || *path == 0) { /* utimensat without a path, AT_EMPTY_PATH: the descriptor itself */
        locate_fd(place, directory);
        return;
    }
    if (*path == '/') {
        snprintf(joined, sizeof joined, "%s", path);
    } else {
        if (descriptor_path(directory, parent) != 0) return;
        snprintf(joined, sizeof joined, "%s/%s", parent, path);
    }
    size_t length = strlen(joined);
    while (length > 1 && joined[length - 1] == '/') joined[--length] = 0;
    char *slash = strrchr(joined, '/');
    const char *name = slash + 1;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || *name == 0) {
        if (!realpath(joined, place->path)) return;
    } else {
        *slash = 0;
        if (!realpath(*joined ? joined : "/", parent)) {
            if (strlen(joined) >= PATH_MAX) return;
            strcpy(parent, joined); /* the call will fail; it still counts where it points */
        }
        if (strlen(parent) + strlen(name) + 2 > PATH_MAX) return;
        size_t end = strlen(parent);
        memcpy(place->path, parent, end);
        if (end > 1) place->path[end++] = '/';
        strcpy(place->path + end, name);
    }
    find_root(place);
    if (place->root >= 0) place->kind = kind_at(AT_FDCWD, place->path);
}

/* ---- the log -------------------------------------------------------------------------------------- */

static size_t append_escaped(char *line, size_t at, const char *text) {
    for (; *text && at + 4 < LINE_BYTES_MAX; text++) {
        unsigned char byte = (unsigned char)*text;
        if (byte < 0x21 || byte == 0x7f || byte == '%')
            at += (size_t)sprintf(line + at, "%%%02X", byte);
        else
            line[at++] = (char)byte;
    }
    return at;
}

/* One line, one write: mark, number, pid, thread, call, effect, bytes, then kind, root, path of each place. */
static void log_call(char mark, unsigned long number, const char *call, enum effect effect, size_t bytes,
                     const struct place *first, const struct place *second) {
    char line[LINE_BYTES_MAX];
    if (!*state.log) return;
    size_t at = (size_t)snprintf(line, sizeof line, "%c %lu %d %ld %s %d %zu", mark, number, getpid(),
                                 bare(SYS_gettid, 0, 0, 0, 0), call, (int)effect, bytes);
    const struct place *places[2] = {first, second};
    for (int index = 0; index < 2; index++) {
        if (!places[index] || places[index]->root < 0) continue;
        at += (size_t)sprintf(line + at, " %c %d ", places[index]->kind, places[index]->root);
        at = append_escaped(line, at, places[index]->relative);
    }
    line[at++] = '\n';
    long fd = bare(SYS_openat, AT_FDCWD, (long)state.log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0) abort(); /* a harness without its record must not pass for a run without points */
    if (bare(SYS_write, fd, (long)line, (long)at, 0) != (long)at) abort();
    bare(SYS_close, fd, 0, 0, 0);
}

/* ---- the decision --------------------------------------------------------------------------------- */

static int applies(enum effect effect) {
    if (state.mode == TORN || state.mode == SHORT) return effect == TRANSFERS;
    if (state.mode == ERROR && state.error_number == ENOSPC) return effect != CHANGES;
    return 1;
}

static enum verdict decide(const char *call, enum effect effect, size_t bytes, const struct place *first,
                           const struct place *second) {
    if (first->root < 0 && (!second || second->root < 0)) return PASS;
    unsigned long number = atomic_fetch_add(counter, 1) + 1;
    if (state.mode == RECORD) {
        log_call('P', number, call, effect, bytes, first, second);
        return PASS;
    }
    unsigned long repeat = state.mode == ERROR ? state.repeat : 1;
    if (number < state.at || (repeat && number >= state.at + repeat) || !applies(effect)) return PASS;
    log_call('L', number, call, effect, bytes, first, second);
    switch (state.mode) {
    case KILL: die();
    case KILL_AFTER: return PASS_THEN_DIE;
    case ERROR: return FAIL;
    case TORN: return HALF_THEN_DIE;
    case SHORT: return bytes > 1 ? HALF : PASS;
    case STOP: /* aimed at this thread: aimed at the process, another may take it while this one runs on */
        bare(SYS_tgkill, getpid(), bare(SYS_gettid, 0, 0, 0, 0), SIGSTOP, 0);
        return PASS;
    default: return PASS;
    }
}

enum verdict enter_fd(const char *call, enum effect effect, int fd, size_t bytes) {
    struct place place;
    if (state.mode == IDLE) return PASS;
    int saved = errno;
    locate_fd(&place, fd);
    enum verdict verdict = decide(call, effect, bytes, &place, NULL);
    errno = saved;
    return verdict;
}

enum verdict enter_path(const char *call, enum effect effect, int directory, const char *path) {
    struct place place;
    if (state.mode == IDLE) return PASS;
    int saved = errno;
    locate_path(&place, directory, path);
    enum verdict verdict = decide(call, effect, 0, &place, NULL);
    errno = saved;
    return verdict;
}

enum verdict enter_two(const char *call, enum effect effect, int old_directory, const char *old_path,
                       int new_directory, const char *new_path) {
    struct place old_place, new_place;
    if (state.mode == IDLE) return PASS;
    int saved = errno;
    locate_path(&old_place, old_directory, old_path);
    locate_path(&new_place, new_directory, new_path);
    enum verdict verdict = decide(call, effect, 0, &old_place, &new_place);
    errno = saved;
    return verdict;
}

/* ---- arming --------------------------------------------------------------------------------------- */

static int share_counter(const char *path) {
    int fd = (int)bare(SYS_openat, AT_FDCWD, (long)path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return -1;
    void *page = MAP_FAILED;
    if (bare(SYS_ftruncate, fd, sizeof(atomic_ulong), 0, 0) == 0)
        page = mmap(NULL, sizeof(atomic_ulong), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bare(SYS_close, fd, 0, 0, 0);
    if (page == MAP_FAILED) return -1;
    counter = page;
    state.shared = 1;
    return 0;
}

/* roots: colon separated, each resolved here; log: "" for none; counter_file: "" for a counter of this process
 * only. 0, or -1 when a root does not exist, there are too many, or the counter cannot be mapped. */
int noodle_crash_configure(const char *roots, const char *log, const char *counter_file) {
    char copy[ROOTS_MAX * PATH_MAX], *rest = NULL;
    if (strlen(roots) >= sizeof copy || strlen(log) >= PATH_MAX) return -1;
    strcpy(copy, roots);
    state.roots = 0;
    for (char *root = strtok_r(copy, ":", &rest); root; root = strtok_r(NULL, ":", &rest)) {
        if (state.roots == ROOTS_MAX || !realpath(root, state.root[state.roots])) return -1;
        state.roots++;
    }
    strcpy(state.log, log);
    return *counter_file ? share_counter(counter_file) : 0;
}

/* Starts counting from zero (a shared counter keeps its value). 0, or -1 for an unknown mode. */
int noodle_crash_arm(const char *mode, unsigned long at, int error_number, unsigned long repeat, int whole_group) {
    for (int index = 0; index < MODES; index++) {
        if (strcmp(mode, mode_names[index]) != 0) continue;
        state.at = at;
        state.error_number = error_number;
        state.repeat = repeat;
        state.whole_group = whole_group;
        if (!state.shared) atomic_store(counter, 0);
        state.mode = (enum mode)index;
        return 0;
    }
    return -1;
}

unsigned long noodle_crash_count(void) { return atomic_load(counter); }

static void disarm_child(void) {
    if (!state.shared) state.mode = IDLE;
}

static const char *setting(const char *name, const char *fallback) {
    const char *value = getenv(name);
    return value ? value : fallback;
}

__attribute__((constructor)) static void arm_from_environment(void) {
    pthread_atfork(NULL, NULL, disarm_child);
    const char *mode = getenv("CRASH_SHIM_MODE");
    if (!mode) return;
    int bad = noodle_crash_configure(setting("CRASH_SHIM_ROOTS", ""), setting("CRASH_SHIM_LOG", ""),
                                     setting("CRASH_SHIM_COUNTER", ""));
    bad |= noodle_crash_arm(mode, strtoul(setting("CRASH_SHIM_AT", "0"), NULL, 10),
                            atoi(setting("CRASH_SHIM_ERRNO", "0")),
                            strtoul(setting("CRASH_SHIM_REPEAT", "1"), NULL, 10),
                            atoi(setting("CRASH_SHIM_GROUP", "0")));
    if (bad) {
        fputs("crash shim: roots, counter or mode are wrong\n", stderr);
        abort();
    }
    if (!state.shared) unsetenv("CRASH_SHIM_MODE");
}
