/* Records what a process writes below one folder, and what of it was synced: a library for LD_PRELOAD.
 *
 *   POWER_CUT_ROOT   absolute path of the folder
 *   POWER_CUT_MARKS  absolute path of a file outside of it; what is written there is recorded too, in order
 *   POWER_CUT_LOG    absolute path of the record, appended to
 *
 * Every call goes through; a lock around the call and its record keeps the record in true order. A record is
 *
 *   kind u8 | inode u64 | number u64 | length u32 | payload        (the machine's byte order)
 *
 *   C create file (path)        W write (number: offset; bytes)   T truncate (number: new length)
 *   S sync file (its length)    D make folder (path)              X remove folder (path)
 *   R rename (from 0 to)        L link (from 0 to)                U unlink (path)
 *   F sync folder (path)        G sync everything                 A mark (bytes)
 *
 * sync_file_range is not a sync: it keeps neither the length of a file nor the disk's own cache.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "below.h"

static char marks[PATH_MAX];
static int log_fd = -1;

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("POWER_CUT_ROOT"), *record = getenv("POWER_CUT_LOG");
    const char *marked = getenv("POWER_CUT_MARKS");
    if (!folder || !record || !marked) return;
    watch(folder);
    snprintf(marks, sizeof marks, "%s", marked);
    log_fd = REAL(open64)(record, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (log_fd < 0) {
        fprintf(stderr, "power_cut: %s: %s\n", record, strerror(errno));
        abort();
    }
}

static void put(const void *bytes, size_t length) {
    const char *next = bytes;
    while (length > 0) {
        ssize_t done = REAL(write)(log_fd, next, length);
        if (done < 0 && errno == EINTR) continue;
        if (done <= 0) abort(); /* a hole in the record would blame the store */
        next += done;
        length -= (size_t)done;
    }
}

static void record(char kind, uint64_t inode, uint64_t number, const void *payload, size_t length) {
    char head[21];
    uint32_t size = (uint32_t)length;
    head[0] = kind;
    memcpy(head + 1, &inode, 8);
    memcpy(head + 9, &number, 8);
    memcpy(head + 17, &size, 4);
    int saved = errno;
    put(head, sizeof head);
    put(payload, length);
    errno = saved;
}

enum { OTHER, INSIDE, MARKS };

/* What a descriptor is, with its inode and its path below the root. */
static int classify(int fd, struct stat *about, char *path) {
    if (log_fd < 0 || fd == log_fd) return OTHER;
    char full[PATH_MAX];
    if (!path_of(fd, full)) return OTHER;
    if (strcmp(full, marks) == 0) return MARKS;
    const char *inside = below(full);
    if (!inside || fstat(fd, about) != 0) return OTHER;
    snprintf(path, PATH_MAX, "%s", inside);
    return INSIDE;
}

static int open_recorded(int folder, const char *name, int flags, mode_t mode) {
    char full[PATH_MAX];
    absolute(folder, name, full);
    const char *inside = below(full);
    if (!inside || !(flags & (O_CREAT | O_TRUNC))) return REAL(openat64)(folder, name, flags, mode);
    pthread_mutex_lock(&lock);
    struct stat about;
    int existed = stat(full, &about) == 0;
    int fd = REAL(openat64)(folder, name, flags, mode);
    if (fd >= 0 && fstat(fd, &about) == 0) {
        if (!existed) record('C', about.st_ino, 0, inside, strlen(inside));
        else if (flags & O_TRUNC) record('T', about.st_ino, 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

int open(const char *path, int flags, ...) { MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_recorded(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_recorded(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_recorded(folder, path, flags, mode); }
int creat(const char *path, mode_t mode) { return open_recorded(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return open_recorded(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

ssize_t write(int fd, const void *bytes, size_t length) {
    struct stat about;
    char path[PATH_MAX];
    int kind = classify(fd, &about, path);
    if (kind == OTHER) return REAL(write)(fd, bytes, length);
    pthread_mutex_lock(&lock);
    off64_t at = 0;
    if (kind == INSIDE) {
        fstat(fd, &about);
        at = (fcntl(fd, F_GETFL) & O_APPEND) ? about.st_size : lseek64(fd, 0, SEEK_CUR);
    }
    ssize_t done = REAL(write)(fd, bytes, length);
    if (done > 0) record(kind == MARKS ? 'A' : 'W', about.st_ino, (uint64_t)at, bytes, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    struct stat about;
    char path[PATH_MAX];
    if (classify(fd, &about, path) == OTHER) return REAL(writev)(fd, parts, count);
    return write_first(fd, parts, count);
}

static ssize_t pwrite_recorded(int fd, const void *bytes, size_t length, off64_t at) {
    struct stat about;
    char path[PATH_MAX];
    if (classify(fd, &about, path) != INSIDE) return REAL(pwrite64)(fd, bytes, length, at);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(pwrite64)(fd, bytes, length, at);
    if (done > 0) record('W', about.st_ino, (uint64_t)at, bytes, (size_t)done);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite_recorded(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return pwrite_recorded(fd, bytes, length, at); }

static int truncate_recorded(int fd, off64_t length) {
    struct stat about;
    char path[PATH_MAX];
    if (classify(fd, &about, path) != INSIDE) return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    int done = REAL(ftruncate64)(fd, length);
    if (done == 0) record('T', about.st_ino, (uint64_t)length, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t length) { return truncate_recorded(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_recorded(fd, length); }

/* The record comes after the call: a cut in between has lost what was not synced yet. */
static int sync_recorded(int fd, int (*real)(int)) {
    struct stat about;
    char path[PATH_MAX];
    if (classify(fd, &about, path) != INSIDE) return real(fd);
    pthread_mutex_lock(&lock);
    int done = real(fd);
    if (done == 0) {
        if (S_ISDIR(about.st_mode)) record('F', 0, 0, path, strlen(path));
        else {
            fstat(fd, &about); /* room may have been claimed by a call that is not recorded */
            record('S', about.st_ino, (uint64_t)about.st_size, "", 0);
        }
    }
    pthread_mutex_unlock(&lock);
    return done;
}
int fsync(int fd) { return sync_recorded(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_recorded(fd, REAL(fdatasync)); }
void sync(void) {
    pthread_mutex_lock(&lock);
    REAL(sync)();
    if (log_fd >= 0) record('G', 0, 0, "", 0);
    pthread_mutex_unlock(&lock);
}
int syncfs(int fd) {
    pthread_mutex_lock(&lock);
    int done = REAL(syncfs)(fd);
    if (log_fd >= 0 && done == 0) record('G', 0, 0, "", 0);
    pthread_mutex_unlock(&lock);
    return done;
}

/* Records `kind` for the path if the call succeeds. */
#define ON_PATH(kind, folder, path, call) \
    char full[PATH_MAX]; \
    const char *inside = below(absolute(folder, path, full)); \
    if (!inside) return call; \
    pthread_mutex_lock(&lock); \
    int done = call; \
    if (done == 0) record(kind, 0, 0, inside, strlen(inside)); \
    pthread_mutex_unlock(&lock); \
    return done;

int unlink(const char *path) { ON_PATH('U', AT_FDCWD, path, REAL(unlink)(path)) }
int rmdir(const char *path) { ON_PATH('X', AT_FDCWD, path, REAL(rmdir)(path)) }
int unlinkat(int folder, const char *path, int flags) {
    ON_PATH(flags & AT_REMOVEDIR ? 'X' : 'U', folder, path, REAL(unlinkat)(folder, path, flags))
}
int mkdir(const char *path, mode_t mode) { ON_PATH('D', AT_FDCWD, path, REAL(mkdir)(path, mode)) }
int mkdirat(int folder, const char *path, mode_t mode) { ON_PATH('D', folder, path, REAL(mkdirat)(folder, path, mode)) }

/* A move into or out of the folder can't be recorded: the program under test makes none. */
#define ON_TWO(kind, from_folder, from, to_folder, to, call) \
    char old_path[PATH_MAX], new_path[PATH_MAX], both[2 * PATH_MAX]; \
    const char *old_inside = below(absolute(from_folder, from, old_path)); \
    const char *new_inside = below(absolute(to_folder, to, new_path)); \
    if (!old_inside && !new_inside) return call; \
    if (!old_inside || !new_inside) abort(); \
    pthread_mutex_lock(&lock); \
    int done = call; \
    if (done == 0) { \
        size_t first = strlen(old_inside), second = strlen(new_inside); \
        memcpy(both, old_inside, first + 1); \
        memcpy(both + first + 1, new_inside, second); \
        record(kind, 0, 0, both, first + 1 + second); \
    } \
    pthread_mutex_unlock(&lock); \
    return done;

int rename(const char *from, const char *to) { ON_TWO('R', AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to)) }
int renameat(int a, const char *from, int b, const char *to) { ON_TWO('R', a, from, b, to, REAL(renameat)(a, from, b, to)) }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) {
    if (flags & RENAME_EXCHANGE) { errno = EINVAL; return -1; }
    ON_TWO('R', a, from, b, to, REAL(renameat2)(a, from, b, to, flags))
}
int link(const char *from, const char *to) { ON_TWO('L', AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to)) }
int linkat(int a, const char *from, int b, const char *to, int flags) {
    ON_TWO('L', a, from, b, to, REAL(linkat)(a, from, b, to, flags))
}

/* Ways to write that are not recorded are not there; callers fall back to plain writes. */
static int inside_fd(int fd) {
    struct stat about;
    char path[PATH_MAX];
    return classify(fd, &about, path) == INSIDE;
}
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    if (inside_fd(out)) { errno = ENOSYS; return -1; }
    return REAL(copy_file_range)(in, from, out, to, length, flags);
}
int fallocate(int fd, int mode, off_t at, off_t length) {
    if (inside_fd(fd)) { errno = EOPNOTSUPP; return -1; }
    return REAL(fallocate)(fd, mode, at, length);
}
int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    if (inside_fd(fd)) { errno = EOPNOTSUPP; return -1; }
    return REAL(fallocate64)(fd, mode, at, length);
}
int posix_fallocate(int fd, off_t at, off_t length) { return inside_fd(fd) ? EOPNOTSUPP : REAL(posix_fallocate)(fd, at, length); }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return inside_fd(fd) ? EOPNOTSUPP : REAL(posix_fallocate64)(fd, at, length); }
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset) {
    if (fd >= 0 && (flags & MAP_SHARED) && (protection & PROT_WRITE) && inside_fd(fd)) abort();
    return REAL(mmap)(at, length, protection, flags, fd, offset);
}
