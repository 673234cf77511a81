/* The functions of a C runtime that the helper needs, for Windows. With the real runtime the helper would be three
 * times as large, and its first build would take minutes. */
#include <stddef.h>
#include <stdint.h>

#define WIN32_LEAN_AND_MEAN
#include <windows.h>

/* The system's headers define these as macros. */
#undef RtlMoveMemory
#undef RtlFillMemory
__declspec(dllimport) void WINAPI RtlMoveMemory(void *target, const void *source, size_t size);
__declspec(dllimport) void WINAPI RtlFillMemory(void *target, size_t size, int value);

void *memcpy(void *restrict target, const void *restrict source, size_t size) {
  RtlMoveMemory(target, source, size);
  return target;
}

void *memset(void *target, int value, size_t size) {
  RtlFillMemory(target, size, value);
  return target;
}

int memcmp(const void *one, const void *other, size_t size) {
  const unsigned char *a = one, *b = other;
  for (; size > 0; size--, a++, b++)
    if (*a != *b) return *a < *b ? -1 : 1;
  return 0;
}

int strcmp(const char *one, const char *other) {
  while (*one != '\0' && *one == *other) one++, other++;
  return (unsigned char)*one - (unsigned char)*other;
}

void *malloc(size_t size) { return HeapAlloc(GetProcessHeap(), 0, size); }

void *calloc(size_t count, size_t size) {
  if (size > 0 && count > SIZE_MAX / size) return NULL;
  return HeapAlloc(GetProcessHeap(), HEAP_ZERO_MEMORY, count * size);
}

void free(void *memory) {
  if (memory != NULL) HeapFree(GetProcessHeap(), 0, memory);
}
