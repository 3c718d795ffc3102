/* A disk that fails to order, put before the C library by LD_PRELOAD: it reaches Node's files and SQLite's alike.
   The file named by FAILING_DISK holds one order, `CALLS ERRNO PATH SKIP`: of the calls in CALLS (commas between them)
   on paths that contain PATH (end with it, if it ends with `$`) all fail with ERRNO after the first SKIP; a negative
   ERRNO is a signal that the process gets instead. No file, no failure. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_long met;
static char last[512];

static int is_meant(const char *path, const char *part) {
  size_t end = strlen(part) - 1, length = strlen(path);
  if (part[end] != '$') return strstr(path, part) != NULL;
  return length >= end && strncmp(path + length - end, part, end) == 0;
}

static int fails(const char *call, const char *path) {
  const char *control = getenv("FAILING_DISK");
  if (control == NULL) return 0;
  int fd = syscall(SYS_openat, AT_FDCWD, control, O_RDONLY | O_CLOEXEC, 0);
  if (fd < 0) return 0;
  char order[512] = {0};
  long length = syscall(SYS_read, fd, order, sizeof order - 1);
  syscall(SYS_close, fd);
  if (length <= 0) return 0;
  char calls[200], part[200];
  int code;
  long skip;
  if (sscanf(order, "%199s %d %199s %ld", calls, &code, part, &skip) != 4) return 0;
  if (strcmp(order, last) != 0) {
    strcpy(last, order);
    met = 0;
  }
  char wanted[220], named[40];
  snprintf(wanted, sizeof wanted, ",%s,", calls);
  snprintf(named, sizeof named, ",%s,", call);
  if (strstr(wanted, named) == NULL || !is_meant(path, part)) return 0;
  if (atomic_fetch_add(&met, 1) < skip) return 0;
  if (code < 0) kill(getpid(), -code);
  return code < 0 ? 0 : code;
}

static int fails_at(const char *call, int fd) {
  if (getenv("FAILING_DISK") == NULL) return 0;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = readlink(link, path, sizeof path - 1);
  if (length <= 0 || path[0] != '/') return 0;
  path[length] = 0;
  return fails(call, path);
}

#define REAL(name, type, ...) \
  static type (*real)(__VA_ARGS__); \
  if (real == NULL) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)
#define GUARD(code) \
  do { int failure = (code); if (failure != 0) { errno = failure; return -1; } } while (0)

ssize_t write(int fd, const void *b, size_t n) { REAL(write, ssize_t, int, const void *, size_t); GUARD(fails_at("write", fd)); return real(fd, b, n); }
ssize_t writev(int fd, const struct iovec *v, int n) { REAL(writev, ssize_t, int, const struct iovec *, int); GUARD(fails_at("write", fd)); return real(fd, v, n); }
ssize_t pwrite(int fd, const void *b, size_t n, off_t o) { REAL(pwrite, ssize_t, int, const void *, size_t, off_t); GUARD(fails_at("write", fd)); return real(fd, b, n, o); }
ssize_t pwrite64(int fd, const void *b, size_t n, off64_t o) { REAL(pwrite64, ssize_t, int, const void *, size_t, off64_t); GUARD(fails_at("write", fd)); return real(fd, b, n, o); }
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t o) { REAL(pwritev, ssize_t, int, const struct iovec *, int, off_t); GUARD(fails_at("write", fd)); return real(fd, v, n, o); }
int fsync(int fd) { REAL(fsync, int, int); GUARD(fails_at("sync", fd)); return real(fd); }
int fdatasync(int fd) { REAL(fdatasync, int, int); GUARD(fails_at("sync", fd)); return real(fd); }
int ftruncate(int fd, off_t n) { REAL(ftruncate, int, int, off_t); GUARD(fails_at("truncate", fd)); return real(fd, n); }
int ftruncate64(int fd, off64_t n) { REAL(ftruncate64, int, int, off64_t); GUARD(fails_at("truncate", fd)); return real(fd, n); }
int rename(const char *a, const char *b) { REAL(rename, int, const char *, const char *); GUARD(fails("rename", b)); return real(a, b); }
int unlink(const char *a) { REAL(unlink, int, const char *); GUARD(fails("unlink", a)); return real(a); }

#define OPEN(name) \
  int name(const char *path, int flags, ...) { \
    REAL(name, int, const char *, int, ...); \
    mode_t mode = 0; \
    if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); GUARD(fails("create", path)); } \
    return real(path, flags, mode); \
  }
OPEN(open)
OPEN(open64)
