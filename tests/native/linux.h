/* What C tests use on Linux only. */
#ifndef TEST_LINUX_H
#define TEST_LINUX_H

#include "posix.h"

#include <fcntl.h>

/* The path of an object of shared memory. The next call overwrites it. */
const char *shm_path(const char *prefix, const char *name);
bool exists(const char *path);
/* Makes a file of zeros. */
void make_file(const char *path, off_t size);
/* From now on the kernel answers this fcntl(2) of the process with the error, or does nothing if that is 0. False where it
 * cannot be told to, as in an emulator. */
bool answer_fcntl(int command, int error);
/* The same for a whole system call. */
bool answer_call(long number, int error);
/* Constants of the kernel that some C libraries hide. */
#ifndef F_OFD_SETLK
#define F_OFD_GETLK 36
#define F_OFD_SETLK 37
#endif
#ifndef F_SETLEASE
#define F_SETLEASE 1024
#endif

#endif
