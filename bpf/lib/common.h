/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every program needs: helper declarations, byte order, inlining, counters. */
#pragma once

#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/pkt_cls.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "abi/config.h"
#include "abi/egress.h"
#include "abi/endpoint.h"
#include "abi/event.h"
#include "abi/flow.h"
#include "abi/policy.h"
#include "abi/service.h"

#define inline_always static __always_inline
/* Verified once by itself instead of at every call; its pointers may be NULL as far as the verifier
 * knows, and it returns a number. Before Linux 6.2 what such a pointer leads to cannot be a map's key
 * or value: a function that needs scratch for that gets it itself. */
#define verified_once __attribute__((noinline))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define SCRATCH_ZERO(object) __builtin_memset(object, 0, sizeof(*(object)))

/* net/ipv4: not in the UAPI headers a BPF program can include without libc. */
#define IP_MORE_FRAGMENTS 0x2000
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_DONT_FRAGMENT 0x4000
#define VLAN_ID_MASK 0x0fff
#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* Bounded retries for a free source port; each try is one hash insert. */
#define NAT_PORT_TRIES 16
/* In a smaller range the tries see too few different ports to tell whose most of them are. */
#define NAT_SHARED_RANGE 256
