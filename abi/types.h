/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Types both sides of the BPF boundary compile. Fixed widths, explicit padding; every struct is
 * checked for size here, so a change of layout cannot go unnoticed. Fields named *addr and *port
 * are in network byte order unless the comment says otherwise; all other numbers are host order.
 * Addresses outside the flow keys are 16 bytes, IPv4 as IPv4-mapped ::ffff:a.b.c.d (RFC 4291). */
#pragma once

#include <linux/types.h>

#ifdef __cplusplus
#define WEFT_ABI_ASSERT(condition) static_assert(condition)
#else
#define WEFT_ABI_ASSERT(condition) _Static_assert(condition, #condition)
#endif

/* An address of either family, network byte order. */
struct weft_addr {
	__be32 word[4];
};
WEFT_ABI_ASSERT(sizeof(struct weft_addr) == 16);
