/* Fault points: the steps at which a test kills or stops the process, or lets a call fail. Only the test build, with
 * ZB_FAULT_POINTS, has them; what they do is in tests/faults/fault.c. */
#ifndef ZEROBUFFER_FAULT_H
#define ZEROBUFFER_FAULT_H

#ifdef ZB_FAULT_POINTS
#include <stdbool.h>

/* Does what the test wants at this step; true, with errno set, if the call there has to fail. */
bool zb_fault(const char *step);

/* Before an access to memory that somebody else sees. */
#define ZB_POINT(step) ((void)zb_fault(#step))
/* Before a call into the system; `failed` is what it returns when it fails. */
#define ZB_CALL(step, call, failed) (zb_fault(#step) ? (failed) : (call))
#else
#define ZB_POINT(step) ((void)0)
#define ZB_CALL(step, call, failed) (call)
#endif

#endif
