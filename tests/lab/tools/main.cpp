// lab_traffic: makes traffic for the lab tests and says on standard output what it saw.
//
//   serve PORT [--name N]               TCP and UDP, both families: answers "who", checks streams;
//                                       N is the network namespace's name unless said otherwise
//   ask tcp|udp ADDRESS PORT            one question; prints the server's answer (see serve.cpp)
//       [--source A] [--source-port N] [--size N] [--reply N] [--timeout MS] [--count N] [--interval MS]
//       [--unconnected]
//   stream ADDRESS PORT [--bytes N] [--rate BYTES/S] [--progress FILE]
//                                       numbered bytes until --bytes or SIGTERM; prints a JSON object
//   load tcp|udp ADDRESS PORT           many questions; prints a JSON object: how many, by whom, what failed
//       [--count N | --seconds N] [--threads N] [--source A] [--first-port N] [--pause MS] [--timeout MS] [--hold]
//                                       --first-port: question i from port N+i; --hold: keeps the
//                                       connections open until SIGTERM
//   decapsulate DEVICE                  a backend of direct server return: takes packets out of IP-in-IP and
//                                       Geneve and gives them to a TUN device of this name
//   line SOCKET                         a unix socket as standard input and output
//   icmp ADDRESS [--ttl N] [--size N] [--df] [--timeout MS]
//   ping ADDRESS [--count N] [--interval MS] [--timeout MS]
//                                       many echo requests; prints a JSON object: sent, received, times
//   packet DEVICE --mac MAC --source A --destination A [--source-port N] [--port N] [--count N]
//       [--vlan TAG]
//                                       a UDP packet with any source, past the socket layer
#include <fmt/format.h>

#include <csignal>
#include <cstdio>

#include "sockets.h"

int main(int argc, char** argv) {
  using namespace weft::labtool;
  std::signal(SIGPIPE, SIG_IGN);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  Arguments arguments;
  for (int i = 2; i < argc; ++i) {
    const std::string text = argv[i];
    if (!text.starts_with("--"))
      arguments.positional.push_back(text);
    else if (i + 1 < argc && argv[i + 1][0] != '-')
      arguments.options[text.substr(2)] = argv[++i];
    else
      arguments.options[text.substr(2)] = "1";
  }
  const std::string command = argc > 1 ? argv[1] : "";
  const auto enough = [&](std::size_t count) { return arguments.positional.size() == count; };
  if (command == "serve" && enough(1)) return serve(arguments);
  if (command == "ask" && enough(3)) return ask(arguments);
  if (command == "load" && enough(3)) return load(arguments);
  if (command == "stream" && enough(2)) return stream(arguments);
  if (command == "decapsulate" && enough(1)) return decapsulate(arguments);
  if (command == "line" && enough(1)) return line(arguments);
  if (command == "icmp" && enough(1)) return echo_request(arguments);
  if (command == "ping" && enough(1)) return ping(arguments);
  if (command == "packet" && enough(1)) return send_packet(arguments);
  fmt::print(
      stderr,
      "usage: lab_traffic serve|ask|load|decapsulate|stream|icmp|ping|packet ... (see tests/lab/tools/main.cpp)\n");
  return 2;
}
