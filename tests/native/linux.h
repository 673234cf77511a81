/* What C tests use on Linux only. */
#ifndef TEST_LINUX_H
#define TEST_LINUX_H

#include "posix.h"

/* The path of an object of shared memory. The next call overwrites it. */
const char *shm_path(const char *prefix, const char *name);
bool exists(const char *path);
/* Makes a file of zeros. */
void make_file(const char *path, off_t size);

#endif
