// What object_test.cpp loads: a counter behind two maps and two constants.
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

struct {
  __uint(type, BPF_MAP_TYPE_HASH);
  __uint(max_entries, 16);
  __type(key, __u32);
  __type(value, __u64);
} counts SEC(".maps");

struct {
  __uint(type, BPF_MAP_TYPE_RINGBUF);
  __uint(max_entries, 4096);
} events SEC(".maps");

const volatile __u32 first_constant = 1;
const volatile __u64 second_constant = 2;

SEC("tc")
int count(struct __sk_buff* skb) {
  __u32 key = first_constant;
  __u64 value = second_constant;
  bpf_map_update_elem(&counts, &key, &value, BPF_ANY);
  bpf_ringbuf_output(&events, &value, sizeof value, 0);
  return (int)skb->len;
}

// The verifier refuses this one: the lookup's result is not checked.
SEC("tc")
int broken(struct __sk_buff* skb) {
  __u32 key = skb->len;
  __u64* value = bpf_map_lookup_elem(&counts, &key);
  return (int)*value;
}

char object_license[] SEC("license") = "Dual BSD/GPL";
