/* What the files for Windows share. */
#ifndef ZEROBUFFER_WIN32_H
#define ZEROBUFFER_WIN32_H

#include "internal.h"

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

#define ZB_NAME_CAPACITY 288
#define ZB_MOST_TOKENS INT32_MAX

/* win32.c */

typedef LONG(WINAPI *zb_query_semaphore)(HANDLE semaphore, int kind, void *result, ULONG size,
                                         ULONG *written);

extern HANDLE zb_interruption; /* wakes a wait when the user presses Ctrl+C */
extern zb_query_semaphore zb_nt_query_semaphore;

/* Stores `error` for zb_system_error, and returns the code for it. */
int32_t zb_code_of_error(DWORD error);
int32_t zb_last_code(void);
/* Rounded up; 0 after the deadline. */
DWORD zb_milliseconds_until(int64_t deadline_ns);

/* win32_objects.c */

/* Joins prefix and name. Names of buffers are ASCII. */
void zb_object_name(wchar_t wide[ZB_NAME_CAPACITY], const char *prefix, const char *name);

#endif
