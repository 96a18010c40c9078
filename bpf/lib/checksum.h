/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Internet checksums (RFC 1071, RFC 1624) without a context: sums of words in network byte order. */
#pragma once

#include "lib/common.h"

/* A word of this value is zero in one's complement arithmetic, of 16 bits too: added first, a word can be
 * subtracted without going below zero. */
#define CHECKSUM_ZERO 0xffffffffULL

inline_always __u16 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return sum;
}

/* The checksum field after what it covers changed by `difference` (RFC 1624, equation 3). */
inline_always __u16 checksum_update(__u16 check, __u64 difference)
{
	return ~checksum_fold((__u16)~check + difference);
}

inline_always __u64 checksum_words(const struct weft_addr *addr)
{
	return (__u64)addr->word[0] + addr->word[1] + addr->word[2] + addr->word[3];
}
