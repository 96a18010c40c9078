// netbench MODE --key value ...: see netbench.h and tools/bench.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <net/if.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "netbench/netbench.h"

namespace netbench {

// --netns --object FILE --device NAME --target NAME: everything entering `device` goes to `target`'s peer.
int run_attach(const Options& options) {
  enter_netns(options.text("netns", ""));
  const auto device = ::if_nametoindex(options.text("device").c_str());
  const std::uint32_t target = ::if_nametoindex(options.text("target").c_str());
  check(device != 0 && target != 0, "no such device");
  bpf_object* object = bpf_object__open_file(options.text("object").c_str(), nullptr);
  check(object != nullptr, "open the object");
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, object) {
    if (std::strstr(bpf_map__name(map), ".rodata") != nullptr)
      check(bpf_map__set_initial_value(map, &target, sizeof target) == 0, "set the target");
  }
  check(bpf_object__load(object) == 0, "load");
  bpf_tc_hook hook{};
  hook.sz = sizeof hook;
  hook.ifindex = static_cast<int>(device);
  hook.attach_point = BPF_TC_INGRESS;
  const int created = bpf_tc_hook_create(&hook);
  check(created == 0 || created == -EEXIST, "clsact");
  bpf_tc_opts attach{};
  attach.sz = sizeof attach;
  attach.prog_fd = bpf_program__fd(bpf_object__find_program_by_name(object, "redirect_peer"));
  attach.handle = 1;
  attach.priority = 1;
  check(bpf_tc_attach(&hook, &attach) == 0, "attach");
  return 0;
}

}  // namespace netbench

int main(int argc, char** argv) {
  const std::string mode = argc > 1 ? argv[1] : "";
  std::signal(SIGPIPE, SIG_IGN);
  const netbench::Options options(argc, argv);
  if (mode == "server") return netbench::run_server(options);
  if (mode == "rr") return netbench::run_request_response(options);
  if (mode == "crr") return netbench::run_connections(options);
  if (mode == "stream") return netbench::run_stream(options);
  if (mode == "policy") return netbench::run_policy(options);
  if (mode == "cni") return netbench::run_plugin(options);
  if (mode == "cni-burst") return netbench::run_plugin_burst(options);
  if (mode == "start") return netbench::run_start(options);
  if (mode == "wire") return netbench::run_wire(options);
  if (mode == "attach") return netbench::run_attach(options);
  fmt::print(stderr, "usage: netbench server|rr|crr|stream|policy|cni|cni-burst|start|attach|wire --key value ...\n");
  return 2;
}
