/* A disk of a chosen size for everything below one folder: a library for LD_PRELOAD.
 *
 *   FULL_DISK_ROOT   absolute path of the folder
 *   FULL_DISK_LIMIT  absolute path of a file outside of it with the size in bytes, as decimal text; it is
 *                    read at every write, so a test fills and enlarges the disk while the program runs
 *
 * A negative size stands for a broken disk: every write and every sync fails with EIO.
 *
 * Files take whole pages. A write that would make a file longer than the disk has room for is cut short or
 * fails with ENOSPC, as the kernel does it; writing over what is there always succeeds. Files and folders
 * themselves take nothing.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "below.h"

#define PAGE 4096

static char limit_path[PATH_MAX];
static int64_t used;

static int64_t size(void);

static int is_broken(void) {
    if (size() >= 0) return 0;
    errno = EIO;
    return 1;
}

static int64_t pages(int64_t bytes) { return (bytes + PAGE - 1) / PAGE * PAGE; }

static int add_up(const char *path, const struct stat *about, int kind, struct FTW *place) {
    (void)path, (void)place;
    if (kind == FTW_F) used += pages(about->st_size);
    return 0;
}

__attribute__((constructor)) static void start(void) {
    const char *folder = getenv("FULL_DISK_ROOT"), *limit = getenv("FULL_DISK_LIMIT");
    if (!folder || !limit) return;
    watch(folder);
    snprintf(limit_path, sizeof limit_path, "%s", limit);
    nftw(root, add_up, 16, FTW_PHYS);
}

static int64_t size(void) {
    char text[32] = {0};
    int fd = REAL(open64)(limit_path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0) {
        fprintf(stderr, "full_disk: %s can't be read\n", limit_path);
        abort(); /* no test passes because its disk was never full */
    }
    close(fd);
    return atoll(text);
}

/* Bytes that are free; negative when the disk was made smaller than what it holds. A broken disk does not
 * look full. */
static int64_t room(void) {
    int64_t bytes = size();
    return bytes < 0 ? INT64_MAX / 2 : bytes - used;
}

static int inside_fd(int fd) {
    char full[PATH_MAX];
    return root_length > 0 && path_of(fd, full) && below(full);
}

/* How many of `length` bytes fit at `at`; takes their room. Call with the lock held. */
static size_t take(int fd, size_t length, int64_t at) {
    struct stat about;
    if (fstat(fd, &about) != 0) return length;
    int64_t held = pages(about.st_size), end = at + (int64_t)length;
    int64_t more = pages(end) - held;
    if (more <= 0) return length;
    int64_t free_bytes = room() / PAGE * PAGE;
    if (free_bytes < 0) free_bytes = 0;
    if (more > free_bytes) {
        int64_t fits = held + free_bytes - at;
        if (fits <= 0) return 0;
        used += free_bytes;
        return (size_t)fits;
    }
    used += more;
    return length;
}

static ssize_t full(void) {
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t length) {
    if (!inside_fd(fd)) return REAL(write)(fd, bytes, length);
    if (is_broken()) return -1;
    pthread_mutex_lock(&lock);
    struct stat about;
    fstat(fd, &about);
    int64_t at = (fcntl(fd, F_GETFL) & O_APPEND) ? about.st_size : lseek64(fd, 0, SEEK_CUR);
    size_t fits = length > 0 ? take(fd, length, at) : 0;
    ssize_t done = length > 0 && fits == 0 ? full() : REAL(write)(fd, bytes, fits);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (!inside_fd(fd)) return REAL(writev)(fd, parts, count);
    return write_first(fd, parts, count);
}

static ssize_t pwrite_limited(int fd, const void *bytes, size_t length, off64_t at) {
    if (!inside_fd(fd)) return REAL(pwrite64)(fd, bytes, length, at);
    if (is_broken()) return -1;
    pthread_mutex_lock(&lock);
    size_t fits = length > 0 ? take(fd, length, at) : 0;
    ssize_t done = length > 0 && fits == 0 ? full() : REAL(pwrite64)(fd, bytes, fits, at);
    pthread_mutex_unlock(&lock);
    return done;
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite_limited(fd, bytes, length, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) { return pwrite_limited(fd, bytes, length, at); }

static int truncate_limited(int fd, off64_t length) {
    if (!inside_fd(fd)) return REAL(ftruncate64)(fd, length);
    if (is_broken()) return -1;
    pthread_mutex_lock(&lock);
    struct stat about;
    int done = -1;
    if (fstat(fd, &about) == 0) {
        int64_t more = pages(length) - pages(about.st_size);
        if (more > 0 && more > room()) errno = ENOSPC;
        else done = REAL(ftruncate64)(fd, length);
        if (done == 0) used += more;
    }
    pthread_mutex_unlock(&lock);
    return done;
}
int ftruncate(int fd, off_t length) { return truncate_limited(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_limited(fd, length); }

int fsync(int fd) { return inside_fd(fd) && is_broken() ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return inside_fd(fd) && is_broken() ? -1 : REAL(fdatasync)(fd); }

/* Bytes that a file gives back when its last name goes. */
static int64_t freed_by(const char *path) {
    struct stat about;
    if (lstat(path, &about) != 0 || !S_ISREG(about.st_mode) || about.st_nlink > 1) return 0;
    return pages(about.st_size);
}

#define FREEING(folder, path, call) \
    char place[PATH_MAX]; \
    if (!below(absolute(folder, path, place))) return call; \
    pthread_mutex_lock(&lock); \
    int64_t freed = freed_by(place); \
    int done = call; \
    if (done >= 0) used -= freed; \
    pthread_mutex_unlock(&lock); \
    return done;

int unlink(const char *path) { FREEING(AT_FDCWD, path, REAL(unlink)(path)) }
int unlinkat(int folder, const char *path, int flags) { FREEING(folder, path, REAL(unlinkat)(folder, path, flags)) }
int rename(const char *from, const char *to) { FREEING(AT_FDCWD, to, REAL(rename)(from, to)) }
int renameat(int a, const char *from, int b, const char *to) { FREEING(b, to, REAL(renameat)(a, from, b, to)) }
int renameat2(int a, const char *from, int b, const char *to, unsigned flags) { FREEING(b, to, REAL(renameat2)(a, from, b, to, flags)) }

static int open_limited(int folder, const char *path, int flags, mode_t mode) {
    if (!(flags & O_TRUNC)) return REAL(openat64)(folder, path, flags, mode);
    FREEING(folder, path, REAL(openat64)(folder, path, flags, mode))
}

int open(const char *path, int flags, ...) { MODE(flags) return open_limited(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_limited(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_limited(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_limited(folder, path, flags, mode); }

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    if (inside_fd(out)) { errno = ENOSYS; return -1; } /* callers fall back to writes */
    return REAL(copy_file_range)(in, from, out, to, length, flags);
}
static int allocate(int fd, off64_t at, off64_t length) {
    struct stat about;
    if (fstat(fd, &about) != 0) return errno;
    if (at + length <= about.st_size) return 0;
    return truncate_limited(fd, at + length) == 0 ? 0 : errno;
}
int fallocate(int fd, int mode, off_t at, off_t length) {
    if (!inside_fd(fd)) return REAL(fallocate)(fd, mode, at, length);
    if (mode != 0) { errno = EOPNOTSUPP; return -1; }
    int failed = allocate(fd, at, length);
    if (failed) errno = failed;
    return failed ? -1 : 0;
}
int fallocate64(int fd, int mode, off64_t at, off64_t length) { return fallocate(fd, mode, at, length); }
int posix_fallocate(int fd, off_t at, off_t length) { return inside_fd(fd) ? allocate(fd, at, length) : REAL(posix_fallocate)(fd, at, length); }
int posix_fallocate64(int fd, off64_t at, off64_t length) { return inside_fd(fd) ? allocate(fd, at, length) : REAL(posix_fallocate64)(fd, at, length); }

/* What a program is told of the disk. */
#define ABOUT_DISK(about, call, inside) \
    int done = call; \
    if (done == 0 && (inside)) { \
        pthread_mutex_lock(&lock); \
        int64_t free_bytes = room(); \
        if (free_bytes < 0) free_bytes = 0; \
        (about)->f_bsize = PAGE; \
        (about)->f_blocks = (uint64_t)(used + free_bytes) / PAGE; \
        (about)->f_bfree = (about)->f_bavail = (uint64_t)free_bytes / PAGE; \
        pthread_mutex_unlock(&lock); \
    } \
    return done;
int statfs(const char *path, struct statfs *about) { ABOUT_DISK(about, REAL(statfs)(path, about), below(path) != NULL) }
int statfs64(const char *path, struct statfs64 *about) { ABOUT_DISK(about, REAL(statfs64)(path, about), below(path) != NULL) }
#define ABOUT_VFS(about, call, inside) \
    int done = call; \
    if (done == 0 && (inside)) { \
        pthread_mutex_lock(&lock); \
        int64_t free_bytes = room(); \
        if (free_bytes < 0) free_bytes = 0; \
        (about)->f_bsize = (about)->f_frsize = PAGE; \
        (about)->f_blocks = (uint64_t)(used + free_bytes) / PAGE; \
        (about)->f_bfree = (about)->f_bavail = (uint64_t)free_bytes / PAGE; \
        pthread_mutex_unlock(&lock); \
    } \
    return done;
int statvfs(const char *path, struct statvfs *about) { ABOUT_VFS(about, REAL(statvfs)(path, about), below(path) != NULL) }
int statvfs64(const char *path, struct statvfs64 *about) { ABOUT_VFS(about, REAL(statvfs64)(path, about), below(path) != NULL) }
int fstatvfs(int fd, struct statvfs *about) { ABOUT_VFS(about, REAL(fstatvfs)(fd, about), inside_fd(fd)) }
int fstatvfs64(int fd, struct statvfs64 *about) { ABOUT_VFS(about, REAL(fstatvfs64)(fd, about), inside_fd(fd)) }
