/* The interposed calls. Each asks shim.c once, under one name for all spellings of the same act
 * (open64, openat, creat are "open"; renameat2 is named by its flag), then does what the verdict says.
 *
 * Not seen from here: stdio inside the C library, static programs, io_uring, children with a cleaned
 * environment. The cross-check against strace says whether a program uses any of the first three. */

#include "shim.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PIECES_MAX 1024

#define NEXT(name)                                                                \
    ({                                                                            \
        static __typeof__(&name) next_;                                           \
        if (!next_) next_ = (__typeof__(&name))dlsym(RTLD_NEXT, #name);           \
        next_;                                                                    \
    })

/* Ends the wrapper: fail, or call and perhaps die. */
#define CARRY_OUT(verdict_expression, call)         \
    do {                                            \
        enum verdict verdict_ = (verdict_expression); \
        if (verdict_ == FAIL) {                     \
            errno = failure_number();               \
            return -1;                              \
        }                                           \
        __typeof__(call) answer_ = (call);          \
        if (verdict_ != PASS) die();                \
        return answer_;                             \
    } while (0)

/* The same for calls that carry bytes; `bytes` is halved in place when the verdict says so. */
#define TRANSFER(verdict_expression, bytes, call)                                      \
    do {                                                                               \
        enum verdict verdict_ = (verdict_expression);                                  \
        if (verdict_ == FAIL) {                                                        \
            errno = failure_number();                                                  \
            return -1;                                                                 \
        }                                                                              \
        if (verdict_ == HALF || verdict_ == HALF_THEN_DIE) (bytes) /= 2;               \
        __typeof__(call) answer_ = (bytes) || verdict_ != HALF_THEN_DIE ? (call) : 0;  \
        if (verdict_ == PASS_THEN_DIE || verdict_ == HALF_THEN_DIE) die();             \
        return answer_;                                                                \
    } while (0)

/* ---- bytes ---------------------------------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t bytes) {
    TRANSFER(enter_fd("write", TRANSFERS, fd, bytes), bytes, NEXT(write)(fd, data, bytes));
}
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t offset) {
    TRANSFER(enter_fd("pwrite", TRANSFERS, fd, bytes), bytes, NEXT(pwrite)(fd, data, bytes, offset));
}
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t offset) {
    TRANSFER(enter_fd("pwrite", TRANSFERS, fd, bytes), bytes, NEXT(pwrite64)(fd, data, bytes, offset));
}

static size_t total(const struct iovec *pieces, int count) {
    size_t bytes = 0;
    for (int index = 0; index < count; index++) bytes += pieces[index].iov_len;
    return bytes;
}

/* The leading pieces that carry `bytes`, the last one cut; the number of pieces. */
static int leading(struct iovec *cut, const struct iovec *pieces, int count, size_t bytes) {
    int index = 0;
    for (; index < count && index < PIECES_MAX && bytes; index++) {
        cut[index] = pieces[index];
        if (cut[index].iov_len > bytes) cut[index].iov_len = bytes;
        bytes -= cut[index].iov_len;
    }
    return index;
}

#define TRANSFER_PIECES(name, call_all, call_cut)                                                  \
    do {                                                                                           \
        size_t whole = total(pieces, count), bytes = whole;                                        \
        struct iovec cut[PIECES_MAX];                                                              \
        TRANSFER(enter_fd(name, TRANSFERS, fd, whole), bytes,                                      \
                 bytes == whole ? (call_all)                                                       \
                                : ({ int kept = leading(cut, pieces, count, bytes); (call_cut); })); \
    } while (0)

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    TRANSFER_PIECES("writev", NEXT(writev)(fd, pieces, count), NEXT(writev)(fd, cut, kept));
}
ssize_t pwritev(int fd, const struct iovec *pieces, int count, off_t offset) {
    TRANSFER_PIECES("pwritev", NEXT(pwritev)(fd, pieces, count, offset), NEXT(pwritev)(fd, cut, kept, offset));
}
ssize_t pwritev64(int fd, const struct iovec *pieces, int count, off64_t offset) {
    TRANSFER_PIECES("pwritev", NEXT(pwritev64)(fd, pieces, count, offset), NEXT(pwritev64)(fd, cut, kept, offset));
}
ssize_t pwritev2(int fd, const struct iovec *pieces, int count, off_t offset, int flags) {
    TRANSFER_PIECES("pwritev", NEXT(pwritev2)(fd, pieces, count, offset, flags),
                    NEXT(pwritev2)(fd, cut, kept, offset, flags));
}
ssize_t pwritev64v2(int fd, const struct iovec *pieces, int count, off64_t offset, int flags) {
    TRANSFER_PIECES("pwritev", NEXT(pwritev64v2)(fd, pieces, count, offset, flags),
                    NEXT(pwritev64v2)(fd, cut, kept, offset, flags));
}

ssize_t copy_file_range(int source, off64_t *from, int fd, off64_t *to, size_t bytes, unsigned flags) {
    TRANSFER(enter_fd("copy_file_range", TRANSFERS, fd, bytes), bytes,
             NEXT(copy_file_range)(source, from, fd, to, bytes, flags));
}
ssize_t sendfile(int fd, int source, off_t *offset, size_t bytes) {
    TRANSFER(enter_fd("sendfile", TRANSFERS, fd, bytes), bytes, NEXT(sendfile)(fd, source, offset, bytes));
}
ssize_t sendfile64(int fd, int source, off64_t *offset, size_t bytes) {
    TRANSFER(enter_fd("sendfile", TRANSFERS, fd, bytes), bytes, NEXT(sendfile64)(fd, source, offset, bytes));
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    if (request != FICLONE && request != FICLONERANGE) return NEXT(ioctl)(fd, request, argument);
    CARRY_OUT(enter_fd("clone", ALLOCATES, fd, 0), NEXT(ioctl)(fd, request, argument));
}

int truncate(const char *path, off_t length) {
    CARRY_OUT(enter_path("truncate", CHANGES, AT_FDCWD, path), NEXT(truncate)(path, length));
}
int truncate64(const char *path, off64_t length) {
    CARRY_OUT(enter_path("truncate", CHANGES, AT_FDCWD, path), NEXT(truncate64)(path, length));
}
int ftruncate(int fd, off_t length) {
    CARRY_OUT(enter_fd("ftruncate", CHANGES, fd, 0), NEXT(ftruncate)(fd, length));
}
int ftruncate64(int fd, off64_t length) {
    CARRY_OUT(enter_fd("ftruncate", CHANGES, fd, 0), NEXT(ftruncate64)(fd, length));
}
int fallocate(int fd, int mode, off_t offset, off_t length) {
    CARRY_OUT(enter_fd("fallocate", ALLOCATES, fd, 0), NEXT(fallocate)(fd, mode, offset, length));
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) {
    CARRY_OUT(enter_fd("fallocate", ALLOCATES, fd, 0), NEXT(fallocate64)(fd, mode, offset, length));
}

/* These answer the error instead of setting it. */
static int allocate(int fd, int (*next)(int, off64_t, off64_t), off64_t offset, off64_t length) {
    enum verdict verdict = enter_fd("fallocate", ALLOCATES, fd, 0);
    if (verdict == FAIL) return failure_number();
    int answer = next(fd, offset, length);
    if (verdict != PASS) die();
    return answer;
}
int posix_fallocate(int fd, off_t offset, off_t length) { return allocate(fd, NEXT(posix_fallocate), offset, length); }
int posix_fallocate64(int fd, off64_t offset, off64_t length) {
    return allocate(fd, NEXT(posix_fallocate64), offset, length);
}

/* ---- flushes -------------------------------------------------------------------------------------- */

int fsync(int fd) { CARRY_OUT(enter_fd("fsync", ALLOCATES, fd, 0), NEXT(fsync)(fd)); }
int fdatasync(int fd) { CARRY_OUT(enter_fd("fdatasync", ALLOCATES, fd, 0), NEXT(fdatasync)(fd)); }
int syncfs(int fd) { CARRY_OUT(enter_fd("syncfs", ALLOCATES, fd, 0), NEXT(syncfs)(fd)); }
int sync_file_range(int fd, off64_t offset, off64_t bytes, unsigned flags) {
    CARRY_OUT(enter_fd("sync_file_range", ALLOCATES, fd, 0), NEXT(sync_file_range)(fd, offset, bytes, flags));
}

/* ---- names ---------------------------------------------------------------------------------------- */

static const char *rename_name(unsigned flags) {
    if (flags & RENAME_EXCHANGE) return "rename_exchange";
    return flags & RENAME_NOREPLACE ? "rename_noreplace" : "rename";
}
int rename(const char *old_path, const char *new_path) {
    CARRY_OUT(enter_two("rename", ALLOCATES, AT_FDCWD, old_path, AT_FDCWD, new_path), NEXT(rename)(old_path, new_path));
}
int renameat(int old_directory, const char *old_path, int new_directory, const char *new_path) {
    CARRY_OUT(enter_two("rename", ALLOCATES, old_directory, old_path, new_directory, new_path),
              NEXT(renameat)(old_directory, old_path, new_directory, new_path));
}
int renameat2(int old_directory, const char *old_path, int new_directory, const char *new_path, unsigned flags) {
    CARRY_OUT(enter_two(rename_name(flags), ALLOCATES, old_directory, old_path, new_directory, new_path),
              NEXT(renameat2)(old_directory, old_path, new_directory, new_path, flags));
}
int link(const char *old_path, const char *new_path) {
    CARRY_OUT(enter_two("link", ALLOCATES, AT_FDCWD, old_path, AT_FDCWD, new_path), NEXT(link)(old_path, new_path));
}
int linkat(int old_directory, const char *old_path, int new_directory, const char *new_path, int flags) {
    CARRY_OUT(enter_two("link", ALLOCATES, old_directory, old_path, new_directory, new_path),
              NEXT(linkat)(old_directory, old_path, new_directory, new_path, flags));
}
int symlink(const char *target, const char *path) {
    CARRY_OUT(enter_path("symlink", ALLOCATES, AT_FDCWD, path), NEXT(symlink)(target, path));
}
int symlinkat(const char *target, int directory, const char *path) {
    CARRY_OUT(enter_path("symlink", ALLOCATES, directory, path), NEXT(symlinkat)(target, directory, path));
}
int unlink(const char *path) { CARRY_OUT(enter_path("unlink", CHANGES, AT_FDCWD, path), NEXT(unlink)(path)); }
int unlinkat(int directory, const char *path, int flags) {
    CARRY_OUT(enter_path(flags & AT_REMOVEDIR ? "rmdir" : "unlink", CHANGES, directory, path),
              NEXT(unlinkat)(directory, path, flags));
}
int rmdir(const char *path) { CARRY_OUT(enter_path("rmdir", CHANGES, AT_FDCWD, path), NEXT(rmdir)(path)); }
int remove(const char *path) { return kind_at(AT_FDCWD, path) == 'd' ? rmdir(path) : unlink(path); }
int mkdir(const char *path, mode_t mode) {
    CARRY_OUT(enter_path("mkdir", ALLOCATES, AT_FDCWD, path), NEXT(mkdir)(path, mode));
}
int mkdirat(int directory, const char *path, mode_t mode) {
    CARRY_OUT(enter_path("mkdir", ALLOCATES, directory, path), NEXT(mkdirat)(directory, path, mode));
}

/* Opens count when they change something: they create a name, an unnamed file, or empty a file. */
static enum verdict enter_open(int directory, const char *path, int flags) {
    int creates = (flags & O_TMPFILE) == O_TMPFILE || ((flags & O_CREAT) && kind_at(directory, path) == '-');
    if (!creates && !(flags & O_TRUNC)) return PASS;
    return enter_path("open", ALLOCATES, directory, path);
}
#define MODE_OF(flags)                                                        \
    ({                                                                        \
        mode_t mode_ = 0;                                                     \
        if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) {      \
            va_list rest;                                                     \
            va_start(rest, flags);                                            \
            mode_ = (mode_t)va_arg(rest, int);                                \
            va_end(rest);                                                     \
        }                                                                     \
        mode_;                                                                \
    })
int open(const char *path, int flags, ...) {
    mode_t mode = MODE_OF(flags);
    CARRY_OUT(enter_open(AT_FDCWD, path, flags), NEXT(open)(path, flags, mode));
}
int open64(const char *path, int flags, ...) {
    mode_t mode = MODE_OF(flags);
    CARRY_OUT(enter_open(AT_FDCWD, path, flags), NEXT(open64)(path, flags, mode));
}
int openat(int directory, const char *path, int flags, ...) {
    mode_t mode = MODE_OF(flags);
    CARRY_OUT(enter_open(directory, path, flags), NEXT(openat)(directory, path, flags, mode));
}
int openat64(int directory, const char *path, int flags, ...) {
    mode_t mode = MODE_OF(flags);
    CARRY_OUT(enter_open(directory, path, flags), NEXT(openat64)(directory, path, flags, mode));
}
int creat(const char *path, mode_t mode) { return open(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open64(path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
/* Fortified spellings, used when no mode is given: they can still empty a file. */
int __open_2(const char *path, int flags) { return open(path, flags); }
int __open64_2(const char *path, int flags) { return open64(path, flags); }
int __openat_2(int directory, const char *path, int flags) { return openat(directory, path, flags); }
int __openat64_2(int directory, const char *path, int flags) { return openat64(directory, path, flags); }

/* ---- attributes ----------------------------------------------------------------------------------- */

int chmod(const char *path, mode_t mode) {
    CARRY_OUT(enter_path("chmod", CHANGES, AT_FDCWD, path), NEXT(chmod)(path, mode));
}
int fchmod(int fd, mode_t mode) { CARRY_OUT(enter_fd("fchmod", CHANGES, fd, 0), NEXT(fchmod)(fd, mode)); }
int fchmodat(int directory, const char *path, mode_t mode, int flags) {
    CARRY_OUT(enter_path("chmod", CHANGES, directory, path), NEXT(fchmodat)(directory, path, mode, flags));
}
int chown(const char *path, uid_t owner, gid_t group) {
    CARRY_OUT(enter_path("chown", CHANGES, AT_FDCWD, path), NEXT(chown)(path, owner, group));
}
int lchown(const char *path, uid_t owner, gid_t group) {
    CARRY_OUT(enter_path("chown", CHANGES, AT_FDCWD, path), NEXT(lchown)(path, owner, group));
}
int fchown(int fd, uid_t owner, gid_t group) {
    CARRY_OUT(enter_fd("fchown", CHANGES, fd, 0), NEXT(fchown)(fd, owner, group));
}
int fchownat(int directory, const char *path, uid_t owner, gid_t group, int flags) {
    CARRY_OUT(enter_path("chown", CHANGES, directory, path), NEXT(fchownat)(directory, path, owner, group, flags));
}
int utimensat(int directory, const char *path, const struct timespec times[2], int flags) {
    CARRY_OUT(enter_path("utimens", CHANGES, directory, path), NEXT(utimensat)(directory, path, times, flags));
}
int futimens(int fd, const struct timespec times[2]) {
    CARRY_OUT(enter_fd("utimens", CHANGES, fd, 0), NEXT(futimens)(fd, times));
}
int setxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    CARRY_OUT(enter_path("setxattr", ALLOCATES, AT_FDCWD, path), NEXT(setxattr)(path, name, value, size, flags));
}
int lsetxattr(const char *path, const char *name, const void *value, size_t size, int flags) {
    CARRY_OUT(enter_path("setxattr", ALLOCATES, AT_FDCWD, path), NEXT(lsetxattr)(path, name, value, size, flags));
}
int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags) {
    CARRY_OUT(enter_fd("fsetxattr", ALLOCATES, fd, 0), NEXT(fsetxattr)(fd, name, value, size, flags));
}
int removexattr(const char *path, const char *name) {
    CARRY_OUT(enter_path("removexattr", CHANGES, AT_FDCWD, path), NEXT(removexattr)(path, name));
}
int lremovexattr(const char *path, const char *name) {
    CARRY_OUT(enter_path("removexattr", CHANGES, AT_FDCWD, path), NEXT(lremovexattr)(path, name));
}
int fremovexattr(int fd, const char *name) {
    CARRY_OUT(enter_fd("fremovexattr", CHANGES, fd, 0), NEXT(fremovexattr)(fd, name));
}

/* ---- the door around all of the above ------------------------------------------------------------- */

/* A raw number is sent to the wrapper of its name; whatever is not counted goes on as it is. */
long syscall(long number, ...) {
    va_list rest;
    long a, b, c, d, e, f;
    va_start(rest, number);
    a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    switch (number) {
    case SYS_write: return write((int)a, (void *)b, (size_t)c);
    case SYS_pwrite64: return pwrite64((int)a, (void *)b, (size_t)c, d);
    case SYS_writev: return writev((int)a, (void *)b, (int)c);
    case SYS_pwritev: return pwritev64((int)a, (void *)b, (int)c, d);
    case SYS_pwritev2: return pwritev64v2((int)a, (void *)b, (int)c, d, (int)f);
    case SYS_copy_file_range: return copy_file_range((int)a, (void *)b, (int)c, (void *)d, (size_t)e, (unsigned)f);
    case SYS_sendfile: return sendfile64((int)a, (int)b, (void *)c, (size_t)d);
    case SYS_ioctl: return ioctl((int)a, (unsigned long)b, (void *)c);
    case SYS_truncate: return truncate((char *)a, b);
    case SYS_ftruncate: return ftruncate((int)a, b);
    case SYS_fallocate: return fallocate((int)a, (int)b, c, d);
    case SYS_fsync: return fsync((int)a);
    case SYS_fdatasync: return fdatasync((int)a);
    case SYS_syncfs: return syncfs((int)a);
    case SYS_sync_file_range: return sync_file_range((int)a, b, c, (unsigned)d);
    case SYS_renameat2: return renameat2((int)a, (char *)b, (int)c, (char *)d, (unsigned)e);
    case SYS_linkat: return linkat((int)a, (char *)b, (int)c, (char *)d, (int)e);
    case SYS_symlinkat: return symlinkat((char *)a, (int)b, (char *)c);
    case SYS_unlinkat: return unlinkat((int)a, (char *)b, (int)c);
    case SYS_mkdirat: return mkdirat((int)a, (char *)b, (mode_t)c);
    case SYS_openat: return openat((int)a, (char *)b, (int)c, (mode_t)d);
    case SYS_fchmod: return fchmod((int)a, (mode_t)b);
    case SYS_fchmodat: return fchmodat((int)a, (char *)b, (mode_t)c, 0);
    case SYS_fchown: return fchown((int)a, (uid_t)b, (gid_t)c);
    case SYS_fchownat: return fchownat((int)a, (char *)b, (uid_t)c, (gid_t)d, (int)e);
    case SYS_utimensat: return utimensat((int)a, (char *)b, (void *)c, (int)d);
    case SYS_setxattr: return setxattr((char *)a, (char *)b, (void *)c, (size_t)d, (int)e);
    case SYS_lsetxattr: return lsetxattr((char *)a, (char *)b, (void *)c, (size_t)d, (int)e);
    case SYS_fsetxattr: return fsetxattr((int)a, (char *)b, (void *)c, (size_t)d, (int)e);
    case SYS_removexattr: return removexattr((char *)a, (char *)b);
    case SYS_lremovexattr: return lremovexattr((char *)a, (char *)b);
    case SYS_fremovexattr: return fremovexattr((int)a, (char *)b);
#ifdef SYS_open /* the old numbers, absent on newer architectures */
    case SYS_open: return open((char *)a, (int)b, (mode_t)c);
    case SYS_creat: return creat((char *)a, (mode_t)b);
    case SYS_rename: return rename((char *)a, (char *)b);
    case SYS_renameat: return renameat((int)a, (char *)b, (int)c, (char *)d);
    case SYS_link: return link((char *)a, (char *)b);
    case SYS_symlink: return symlink((char *)a, (char *)b);
    case SYS_unlink: return unlink((char *)a);
    case SYS_rmdir: return rmdir((char *)a);
    case SYS_mkdir: return mkdir((char *)a, (mode_t)b);
    case SYS_chmod: return chmod((char *)a, (mode_t)b);
    case SYS_chown: return chown((char *)a, (uid_t)b, (gid_t)c);
    case SYS_lchown: return lchown((char *)a, (uid_t)b, (gid_t)c);
#endif
    default: return NEXT(syscall)(number, a, b, c, d, e, f);
    }
}
