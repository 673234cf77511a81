/* The resources of a thread are closed when it ends, as the system closes those of a process. A Worker that is terminated
 * closes nothing, and its process lives on. */
#include "internal.h"

static struct zb_resource *newest; /* guarded */

void zb_resource_add(struct zb_resource *resource, void (*close)(struct zb_resource *resource)) {
  zb_watch_thread();
  resource->thread = zb_this_thread();
  resource->close = close;
  zb_guard();
  resource->next = newest;
  resource->link = &newest;
  if (newest != NULL) newest->link = &resource->next;
  newest = resource;
  zb_unguard();
}

void zb_resource_remove(struct zb_resource *resource) {
  zb_guard();
  *resource->link = resource->next;
  if (resource->next != NULL) resource->next->link = resource->link;
  zb_unguard();
}

static struct zb_resource *newest_of(uintptr_t thread) {
  zb_guard();
  struct zb_resource *resource = newest;
  while (resource != NULL && resource->thread != thread) resource = resource->next;
  zb_unguard();
  return resource;
}

void zb_thread_ended(void) {
  /* The newest first: a waiter before its semaphore, and the memory of a buffer before its locks. */
  struct zb_resource *resource;
  while ((resource = newest_of(zb_this_thread())) != NULL) resource->close(resource);
}
