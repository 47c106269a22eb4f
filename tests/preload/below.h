/* What the libraries that watch one folder share. Included after the system's headers. */
#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
/* The folder; nothing is below it while its length is 0. */
static char root[PATH_MAX];
static size_t root_length;

static void watch(const char *folder) {
    snprintf(root, sizeof root, "%s", folder);
    root_length = strlen(root);
}

/* The path below the root, empty for the root itself; NULL elsewhere. */
static const char *below(const char *path) {
    if (root_length == 0 || strncmp(path, root, root_length) != 0) return NULL;
    if (path[root_length] == 0) return path + root_length;
    return path[root_length] == '/' ? path + root_length + 1 : NULL;
}

/* Writes the path of an open file; 0 when it has none. */
static int path_of(int fd, char *into) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, into, PATH_MAX - 1);
    if (length <= 0) return 0;
    into[length] = 0;
    return 1;
}

/* Writes the absolute path of `path`, taken from the folder `folder`. */
static const char *absolute(int folder, const char *path, char *into) {
    if (path[0] == '/') {
        snprintf(into, PATH_MAX, "%s", path);
        return into;
    }
    char start[PATH_MAX];
    if (folder == AT_FDCWD ? !getcwd(start, sizeof start) : !path_of(folder, start)) return "";
    if (snprintf(into, PATH_MAX, "%s/%s", start, path) >= PATH_MAX) return "";
    return into;
}

/* The mode that open(2) was called with. */
#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }

/* The first part that is not empty: callers write the rest with the next call. */
static ssize_t write_first(int fd, const struct iovec *parts, int count) {
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len > 0) return write(fd, parts[part].iov_base, parts[part].iov_len);
    return 0;
}
