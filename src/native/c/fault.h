/* Fault points: steps at which a test can kill or stop the process, or make a call fail. Only the test build has them
 * (ZB_FAULT_POINTS). tests/faults/fault.c implements them. */
#ifndef ZEROBUFFER_FAULT_H
#define ZEROBUFFER_FAULT_H

#ifdef ZB_FAULT_POINTS
#include <stdbool.h>

/* Does what the test wants at this step. True, with errno set, if the call at this step must fail. */
bool zb_fault(const char *step);

/* Before an access to memory that other processes see. */
#define ZB_POINT(step) ((void)zb_fault(#step))
/* A system call. `failed` is its result when it fails. */
#define ZB_CALL(step, call, failed) (zb_fault(#step) ? (failed) : (call))
#else
#define ZB_POINT(step) ((void)0)
#define ZB_CALL(step, call, failed) (call)
#endif

#endif
