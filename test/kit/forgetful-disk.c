/* Notes what a power cut would leave, put before the C library by LD_PRELOAD: it reaches Node's files and SQLite's alike.
   Of the files below FORGETFUL_ROOT the folder FORGETFUL_DISK gets the content that fsync(2) or fdatasync(2) made durable,
   one file each, and in `names` the names that there were when a folder was last fsynced. The file system is taken to be
   one with a journal: the fsync of a folder makes all renames and removals durable that ended before it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name, type, ...) \
  static type (*real)(__VA_ARGS__); \
  if (real == NULL) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* Inode and time of birth: the number of an inode alone is used again. */
static int key_of(int at, const char *name, int flags, char key[64], struct statx *found) {
  if (statx(at, name, flags | AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS | STATX_BTIME, found) != 0) return -1;
  snprintf(key, 64, "%llu.%lld%09u", (unsigned long long)found->stx_ino, (long long)found->stx_btime.tv_sec, found->stx_btime.tv_nsec);
  return 0;
}

static void write_names(FILE *out, const char *path, const char *below) {
  DIR *folder = opendir(path);
  if (folder == NULL) return;
  for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    char inner[4096], name[4096], key[64];
    struct statx found;
    snprintf(inner, sizeof inner, "%s/%s", path, entry->d_name);
    snprintf(name, sizeof name, "%s%s", below, entry->d_name);
    if (key_of(AT_FDCWD, inner, 0, key, &found) != 0) continue;
    if (S_ISDIR(found.stx_mode)) {
      strncat(name, "/", sizeof name - strlen(name) - 1);
      write_names(out, inner, name);
    } else if (S_ISREG(found.stx_mode))
      fprintf(out, "%s\t%s\t%o\t%lld.%09u\n", name, key, found.stx_mode & 07777, (long long)found.stx_mtime.tv_sec, found.stx_mtime.tv_nsec);
  }
  closedir(folder);
}

static void note_names(const char *root, const char *shadow) {
  char path[4096], fresh[4096];
  snprintf(path, sizeof path, "%s/names", shadow);
  snprintf(fresh, sizeof fresh, "%s/names.new", shadow);
  FILE *out = fopen(fresh, "we");
  if (out == NULL) return;
  write_names(out, root, "");
  fclose(out);
  syscall(SYS_renameat, AT_FDCWD, fresh, AT_FDCWD, path);
}

static void note_content(int fd, const char *shadow) {
  char key[64], own[64], path[4096], fresh[4096], octets[65536];
  struct statx found;
  if (key_of(fd, "", AT_EMPTY_PATH, key, &found) != 0) return;
  snprintf(own, sizeof own, "/proc/self/fd/%d", fd);
  snprintf(path, sizeof path, "%s/%s", shadow, key);
  snprintf(fresh, sizeof fresh, "%s/content.new", shadow);
  int in = syscall(SYS_openat, AT_FDCWD, own, O_RDONLY | O_CLOEXEC, 0);
  int out = syscall(SYS_openat, AT_FDCWD, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  long n = -1;
  if (in >= 0 && out >= 0)
    while ((n = syscall(SYS_read, in, octets, sizeof octets)) > 0)
      if (syscall(SYS_write, out, octets, n) != n) break;
  if (in >= 0) close(in);
  if (out >= 0) close(out);
  if (n == 0) syscall(SYS_renameat, AT_FDCWD, fresh, AT_FDCWD, path);
}

static void note(int fd) {
  const char *root = getenv("FORGETFUL_ROOT"), *shadow = getenv("FORGETFUL_DISK");
  if (root == NULL || shadow == NULL) return;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  long length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = 0;
  size_t n = strlen(root);
  if (strncmp(path, root, n) != 0 || (path[n] != '/' && path[n] != 0)) return;
  struct stat found;
  if (fstat(fd, &found) != 0) return;
  if (S_ISDIR(found.st_mode)) note_names(root, shadow);
  else if (S_ISREG(found.st_mode)) note_content(fd, shadow);
}

#define SYNC(name) \
  int name(int fd) { \
    REAL(name, int, int); \
    pthread_mutex_lock(&turn); \
    int result = real(fd); \
    if (result == 0) note(fd); \
    pthread_mutex_unlock(&turn); \
    return result; \
  }
SYNC(fsync)
SYNC(fdatasync)

/* Names do not move while they are noted. */
int rename(const char *a, const char *b) { REAL(rename, int, const char *, const char *); pthread_mutex_lock(&turn); int result = real(a, b); pthread_mutex_unlock(&turn); return result; }
int link(const char *a, const char *b) { REAL(link, int, const char *, const char *); pthread_mutex_lock(&turn); int result = real(a, b); pthread_mutex_unlock(&turn); return result; }
int unlink(const char *a) { REAL(unlink, int, const char *); pthread_mutex_lock(&turn); int result = real(a); pthread_mutex_unlock(&turn); return result; }
