/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What packet_bench.cpp tells packet_bench.bpf.c. */
#pragma once

#include <linux/types.h>

#define BENCH_HEADER_MAX 96

/* The packet every repeat starts from, and how repeats differ: of 2^n flows, each one's source or
 * destination port and one end's address carry its number. */
struct bench_control {
  __u8 header[BENCH_HEADER_MAX];
  __u32 header_length;
  __u32 port_offset;    /* receives 0x8000 | low 15 bits of the flow's number */
  __u32 address_offset; /* last two bytes of an address; receives address_base + the other bits */
  __u32 address_base;
  __u32 flow_mask; /* flows - 1 */
  __u32 cursor;
  __u32 epoch;         /* for the peer program */
  __u32 out_ifindex;   /* likewise */
  __u32 packet_length; /* XDP: of the whole packet, as it begins */
};
