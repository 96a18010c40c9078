/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The hashes by which a Maglev or source-hash service chooses a slot: the same in the datapath and in
 * `weft service trace`, and on every node with the same seed. Mixing as in MurmurHash3 (public domain). */
#pragma once

#include "abi/types.h"

static inline __u32 weft_hash_word(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51U;
	word = (word << 15) | (word >> 17);
	word *= 0x1b873593U;
	hash ^= word;
	hash = (hash << 13) | (hash >> 19);
	return hash * 5 + 0xe6546b64U;
}

static inline __u32 weft_hash_final(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6bU;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35U;
	return hash ^ (hash >> 16);
}

static inline __u32 weft_hash_client(__u32 seed, const struct weft_addr *client)
{
	__u32 hash = weft_hash_word(seed, client->word[0]);

	hash = weft_hash_word(hash, client->word[1]);
	hash = weft_hash_word(hash, client->word[2]);
	return weft_hash_final(weft_hash_word(hash, client->word[3]));
}

/* The frontend is the same for every flow of the service and is left out. */
static inline __u32 weft_hash_flow(__u32 seed, const struct weft_addr *client, __be16 sport, __u8 protocol)
{
	__u32 hash = weft_hash_word(seed, client->word[0]);

	hash = weft_hash_word(hash, client->word[1]);
	hash = weft_hash_word(hash, client->word[2]);
	hash = weft_hash_word(hash, client->word[3]);

	__u32 port = sport;

	return weft_hash_final(weft_hash_word(hash, (port << 8) ^ protocol));
}

/* A slot below `count` without a division. */
static inline __u32 weft_hash_slot(__u32 hash, __u32 count)
{
	__u64 product = hash;

	product *= count;
	return product >> 32;
}
