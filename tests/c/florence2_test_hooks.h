// The functions of libflorence2 with the feature test-hooks, which only the tests call.
// Generated from the crate florence2-ffi by `cargo xtask header`. Do not edit.

#ifndef FLORENCE2_TEST_HOOKS_H
#define FLORENCE2_TEST_HOOKS_H

#include <florence2.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Panics within the boundary. Returns FLORENCE2_STATUS_PANIC.
 */
FLORENCE2_API florence2_status florence2_test_panic(florence2_error **error);

/**
 * Panics on a thread of a thread pool, within the boundary. Returns FLORENCE2_STATUS_PANIC.
 */
FLORENCE2_API florence2_status florence2_test_panic_in_pool(florence2_error **error);

/**
 * Returns the number of handles that are not freed; 0 in a build without handle checks.
 */
FLORENCE2_API size_t florence2_test_live_handles(void);

/**
 * Returns the size in bytes of a struct ("florence2_region") or the offset of a field
 * ("florence2_region.label") in Rust; SIZE_MAX if there is none with the name.
 */
FLORENCE2_API size_t florence2_test_layout(const char *name);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* FLORENCE2_TEST_HOOKS_H */
