/* The executable `otus`, linked statically: an archive with Python and everything of Otus hangs at its end.
 *
 * It unpacks the archive once into a cache folder, by the archive's digest, and then runs what lies there; processes that
 * Otus starts itself run the same program as `bin/python3` of that folder. Everything is run by the folder's own dynamic
 * loader and C library, so that it does not matter which ones the machine has, or whether it has any.
 *
 * The archive: a tar file (ustar, POSIX.1-1988) compressed by xz, then a trailer of 64 bytes: the 16 bytes MAGIC, the
 * archive's offset as 16 hexadecimal digits, and the first 32 hexadecimal digits of its SHA-256 digest.
 *
 * Exit status 125: it could not be unpacked or run, as env(1) has it; else that of otus.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <lzma.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAGIC "OTUS-EXECUTABLE1"
#define TRAILER 64
#define BLOCK 512
#define MEMORY_MAX (256u << 20) /* of the decompressor: the archive is ours, its dictionary has 64 MiB at most */
#define INTERPRETER "python3.11"

extern char **environ;

static void die(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fputs("otus: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    exit(125);
}

static char *join(const char *folder, const char *name) {
    char *made;
    if (asprintf(&made, "%s/%s", folder, name) < 0) die("no memory");
    return made;
}

/* Run the folder's interpreter by the folder's loader. */
static void run(const char *tree, char *const first[], char **rest, int count) {
    char *loader = join(tree, "lib/ld.so"), *self = join(tree, "bin/python3");
    char *words[] = {loader, "--inhibit-cache", "--library-path", join(tree, "lib"), "--argv0", self,
                     join(tree, "bin/" INTERPRETER)};
    int fixed = sizeof words / sizeof *words, more = 0;
    while (first[more]) more++;
    char **all = calloc(fixed + more + count + 1, sizeof *all);
    if (!all) die("no memory");
    memcpy(all, words, sizeof words);
    memcpy(all + fixed, first, more * sizeof *all);
    memcpy(all + fixed + more, rest, count * sizeof *all);
    execv(loader, all);
    die("%s: %s", loader, strerror(errno));
}

/* A folder that only root or the caller can put something into: what lies there is run. */
static void trust(const char *folder) {
    struct stat found;
    if (lstat(folder, &found)) die("%s: %s", folder, strerror(errno));
    if (!S_ISDIR(found.st_mode)) die("%s is not a folder", folder);
    if ((found.st_uid != 0 && found.st_uid != geteuid()) || (found.st_mode & (S_IWGRP | S_IWOTH)))
        die("%s is not used: others than root and you own it, or can write to it; set OTUS_UNPACK_DIR", folder);
}

static char *cache(void) {
    const char *given = getenv("OTUS_UNPACK_DIR"), *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *folder;
    if (given && *given == '/') folder = strdup(given);
    else if (given && *given) die("OTUS_UNPACK_DIR is not a full path: %s", given);
    else if (geteuid() == 0) folder = strdup("/var/cache/otus-executable");
    else if (base && *base == '/') folder = join(base, "otus-executable");
    else if (home && *home == '/') folder = join(home, ".cache/otus-executable");
    else die("neither HOME nor OTUS_UNPACK_DIR says where to unpack to");
    for (char *at = strchr(folder + 1, '/'); at; at = strchr(at + 1, '/')) {
        *at = 0;
        if (mkdir(folder, 0755) && errno != EEXIST) die("%s: %s", folder, strerror(errno));
        *at = '/';
    }
    if (mkdir(folder, 0755) && errno != EEXIST) die("%s: %s", folder, strerror(errno));
    trust(folder);
    return folder;
}

struct input {
    int file;
    uint64_t left;
    lzma_stream stream;
    uint8_t raw[1 << 16], plain[1 << 16];
    size_t at, end;
};

/* Give `size` bytes of the archive; an archive that ends early has been damaged. */
static void take(struct input *in, void *to, size_t size) {
    uint8_t *out = to;
    while (size) {
        if (in->at == in->end) {
            in->stream.next_out = in->plain;
            in->stream.avail_out = sizeof in->plain;
            while (in->stream.avail_out) {
                if (!in->stream.avail_in && in->left) {
                    ssize_t got = read(in->file, in->raw, in->left < sizeof in->raw ? in->left : sizeof in->raw);
                    if (got <= 0) die("cannot read the archive: %s", got ? strerror(errno) : "it ends early");
                    in->left -= got;
                    in->stream.next_in = in->raw;
                    in->stream.avail_in = got;
                }
                lzma_ret how = lzma_code(&in->stream, in->left ? LZMA_RUN : LZMA_FINISH);
                if (how == LZMA_STREAM_END) break;
                if (how != LZMA_OK) die("the archive is damaged (xz error %d)", (int)how);
            }
            in->at = 0;
            in->end = sizeof in->plain - in->stream.avail_out;
            if (!in->end) die("the archive is damaged: it ends early");
        }
        size_t part = in->end - in->at < size ? in->end - in->at : size;
        if (out) memcpy(out, in->plain + in->at, part), out += part;
        in->at += part;
        size -= part;
    }
}

static void unpack_file(struct input *in, const char *path, int mode, uint64_t size) {
    uint8_t part[1 << 16];
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (file < 0) die("%s: %s", path, strerror(errno));
    while (size) {
        size_t count = size < sizeof part ? size : sizeof part;
        take(in, part, count);
        for (size_t done = 0; done < count;) {
            ssize_t wrote = write(file, part + done, count - done);
            if (wrote < 0) die("%s: %s", path, strerror(errno));
            done += wrote;
        }
        size -= count;
    }
    if (close(file)) die("%s: %s", path, strerror(errno));
}

static void unpack(struct input *in, const char *folder) {
    char header[BLOCK];
    for (;;) {
        take(in, header, BLOCK);
        if (!*header) return; /* two blocks of zeros end the archive */
        char name[300], size[13] = {0}, mode[9] = {0};
        snprintf(name, sizeof name, "%.155s%s%.100s", header + 345, header[345] ? "/" : "", header);
        memcpy(mode, header + 100, 8);
        memcpy(size, header + 124, 12);
        if (*name == '/' || strstr(name, "..")) die("the archive is damaged: %s", name);
        char *path = join(folder, name);
        uint64_t bytes = strtoull(size, NULL, 8);
        if (header[156] == '5') {
            if (mkdir(path, 0755) && errno != EEXIST) die("%s: %s", path, strerror(errno));
        } else if (header[156] == '0') {
            unpack_file(in, path, strtol(mode, NULL, 8) & 0755, bytes);
            take(in, NULL, (BLOCK - bytes % BLOCK) % BLOCK);
        } else die("the archive is damaged: entry of type %c", header[156]);
        free(path);
    }
}

static int forget(const char *path, const struct stat *found, int kind, struct FTW *place) {
    (void)found, (void)kind, (void)place;
    return remove(path);
}

/* Have the archive unpacked; give the folder. Of several that start at once, one unpacks and the others wait. */
static char *have_tree(int file, uint64_t offset, uint64_t length, const char *digest) {
    char *base = cache(), *tree = join(base, digest), *lock = join(base, "lock"), *fresh;
    if (!access(tree, F_OK)) return trust(tree), tree;
    int locked = open(lock, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (locked < 0 || flock(locked, LOCK_EX)) die("%s: %s", lock, strerror(errno));
    if (access(tree, F_OK)) {
        if (asprintf(&fresh, "%s.new", tree) < 0) die("no memory");
        nftw(fresh, forget, 16, FTW_DEPTH | FTW_PHYS); /* what somebody was interrupted at */
        umask(022);
        if (mkdir(fresh, 0755)) die("%s: %s", fresh, strerror(errno));
        static struct input in = {.stream = LZMA_STREAM_INIT};
        in.file = file;
        in.left = length;
        if (lseek(file, offset, SEEK_SET) < 0) die("cannot read the archive: %s", strerror(errno));
        if (lzma_stream_decoder(&in.stream, MEMORY_MAX, 0) != LZMA_OK) die("no memory");
        unpack(&in, fresh);
        lzma_end(&in.stream);
        if (rename(fresh, tree)) die("%s: %s", tree, strerror(errno));
    }
    close(locked);
    trust(tree);
    return tree;
}

/* What the environment says to Python is meant for the machine's own. */
static void forget_python(void) {
    for (char **one = environ; *one;) {
        if (strncmp(*one, "PYTHON", 6)) {
            one++;
            continue;
        }
        char *name = strndup(*one, strcspn(*one, "="));
        if (!name || unsetenv(name)) die("no memory");
        free(name);
        one = environ;
    }
    if (setenv("PYTHONNOUSERSITE", "1", 1)) die("no memory");
}

int main(int count, char **words) {
    char self[PATH_MAX], trailer[TRAILER + 1] = {0};
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length < 0) die("/proc/self/exe: %s (is /proc mounted?)", strerror(errno));
    self[length] = 0;
    int file = open(self, O_RDONLY | O_CLOEXEC);
    off_t end = file < 0 ? -1 : lseek(file, -TRAILER, SEEK_END);
    if (end < 0 || read(file, trailer, TRAILER) != TRAILER) die("%s: %s", self, strerror(errno));
    char *const nothing[] = {NULL};
    if (memcmp(trailer, MAGIC, sizeof MAGIC - 1)) { /* bin/python3 of an unpacked folder, or bin/otus */
        close(file);
        char *name = strrchr(self, '/');
        int is_otus = name && !strcmp(name, "/otus");
        *name = 0;
        *strrchr(self, '/') = 0;
        char *const otus[] = {"-I", join(self, "lib/otus"), NULL};
        if (is_otus) forget_python();
        run(self, is_otus ? otus : nothing, words + 1, count - 1);
    }
    char offset[17] = {0}, *digest = trailer + 32;
    memcpy(offset, trailer + 16, 16);
    uint64_t start = strtoull(offset, NULL, 16);
    char *tree = have_tree(file, start, end - start, digest);
    close(file);
    forget_python();
    char *const otus[] = {"-I", join(tree, "lib/otus"), NULL};
    run(tree, otus, words + 1, count - 1);
}
