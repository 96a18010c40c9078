// An API server of Kubernetes for labs: what api_server.h has, as a program. Writes a kubeconfig that leads to it, and
// runs until it is ended.
//
//   lab_api_server --kubeconfig FILE [--address 127.0.0.1] [--port 0] [--tls] [--token TEXT] [--resource
//   PATH=KIND[:whole]]...
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "sources/kubernetes/testing/api_server.h"

namespace {

using weft::kubernetes::testing::ApiServer;
using weft::kubernetes::testing::ApiServerOptions;
using weft::kubernetes::testing::ApiStore;

int usage() {
  std::fputs(
      "usage: lab_api_server --kubeconfig FILE [--address A] [--port N] [--tls] [--token TEXT]\n"
      "                      [--resource /apis/GROUP/VERSION/NAME=KIND[:whole]]...\n",
      stderr);
  return 2;
}

// "/apis/weft.dev/v1/networkpools=NetworkPool"; with ":whole" its status is written with the rest of it.
bool add_resource(ApiStore& store, const std::string& text) {
  const auto equal = text.find('=');
  const auto name = text.rfind('/', equal);
  if (equal == std::string::npos || !text.starts_with("/api") || name == std::string::npos) return false;
  const auto begin = text.starts_with("/apis/") ? 6U : 5U;
  auto kind = text.substr(equal + 1);
  const auto colon = kind.find(':');
  const bool whole = colon != std::string::npos && kind.substr(colon) == ":whole";
  kind.resize(std::min(colon, kind.size()));
  store.add_resource(
      text.substr(0, equal),
      {.kind = std::move(kind), .api_version = text.substr(begin, name - begin), .namespaced = true, .status = !whole});
  return true;
}

// The certificate goes beside it: a list of one line would do, but people look at files.
void write_kubeconfig(const std::string& path, const ApiServer& server) {
  const auto access = server.access();
  std::string cluster = fmt::format("server: \"{}\"", access.servers.front());
  if (!access.ca_pem.empty()) {
    std::ofstream(path + ".ca.pem") << access.ca_pem;
    cluster += fmt::format(", certificate-authority: \"{}.ca.pem\"", path.substr(path.rfind('/') + 1));
  }
  const std::string user = access.token.empty() ? "{}" : fmt::format("{{token: \"{}\"}}", access.token);
  std::ofstream(path + ".new") << fmt::format(
      "apiVersion: v1\nkind: Config\ncurrent-context: lab\nclusters: [{{name: lab, cluster: {{{}}}}}]\n"
      "users: [{{name: lab, user: {}}}]\ncontexts: [{{name: lab, context: {{cluster: lab, user: lab}}}}]\n",
      cluster, user);
  // Whoever waits for it finds all of it.
  if (std::rename((path + ".new").c_str(), path.c_str()) != 0) throw std::runtime_error(path + " cannot be written");
}

int run(const std::vector<std::string>& words) {
  ApiServerOptions options;
  const auto store = std::make_shared<ApiStore>();
  std::string kubeconfig;
  bool tls = false;
  for (std::size_t i = 0; i < words.size(); ++i) {
    if (words[i] == "--tls") {
      tls = true;
      continue;
    }
    if (i + 1 == words.size()) return usage();
    const auto& value = words[i + 1];
    if (words[i] == "--kubeconfig")
      kubeconfig = value;
    else if (words[i] == "--address")
      options.address = value;
    else if (words[i] == "--port")
      options.port = static_cast<std::uint16_t>(std::atoi(value.c_str()));
    else if (words[i] == "--token")
      options.token = value;
    else if (words[i] != "--resource" || !add_resource(*store, value))
      return usage();
    ++i;
  }
  if (kubeconfig.empty()) return usage();
  if (tls) options.tls = weft::kubernetes::testing::make_certificate("lab", {options.address, "kubernetes"});
  // Before threads begin, so that each has it.
  sigset_t ends;
  sigemptyset(&ends);
  for (const int signal : {SIGINT, SIGTERM}) sigaddset(&ends, signal);
  pthread_sigmask(SIG_BLOCK, &ends, nullptr);
  const ApiServer server(options, store);
  write_kubeconfig(kubeconfig, server);
  fmt::print("{}\n", server.url());
  std::fflush(stdout);
  int signal = 0;
  sigwait(&ends, &signal);
  return 0;
}

}  // namespace

int main(int count, char** words) {
  try {
    return run({words + 1, words + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "lab_api_server: %s\n", error.what());
    return 1;
  }
}
