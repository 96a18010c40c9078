#include "speaker/speaker.h"

#include <fmt/format.h>

#include <filesystem>

#include "speaker/bird.h"
#include "speaker/conversation.h"
#include "speaker/files.h"
#include "speaker/frr.h"

namespace weft::speaker {
namespace {

constexpr auto grace = std::chrono::seconds(5);

}  // namespace

Result<std::unique_ptr<Speaker>> open_speaker(Choice choice, const std::string& directory,
                                              std::function<void(const std::string& line)> log) {
  if (choice != Choice::frr)
    if (const auto bird = find_program("bird", {"/usr/sbin", "/usr/local/sbin"}))
      return std::make_unique<Bird>(*bird, directory + "/bird", std::move(log));
  if (choice != Choice::bird)
    if (const auto bgpd = find_program("bgpd", {"/usr/lib/frr", "/usr/local/sbin"}))
      return std::make_unique<Frr>(std::filesystem::path(*bgpd).parent_path().string(), directory + "/frr",
                                   std::move(log));
  const auto* const missing = choice == Choice::bird  ? "BIRD 2 is not installed"
                              : choice == Choice::frr ? "FRR is not installed"
                                                      : "neither BIRD 2 nor FRR is installed";
  return fail(ErrorCode::not_found, missing,
              choice == Choice::frr ? "install the package frr" : "install the package bird2");
}

std::size_t end_speakers(const std::string& directory, const std::string& except) {
  struct Folder {
    std::string name;
    std::vector<std::string> pid_files;
    std::vector<std::string> sockets;
  };
  const std::vector<Folder> folders{{"bird", {"bird.pid"}, {"bird.ctl"}},
                                    {"frr", {"bgpd.kept", "zebra.kept"}, {"vty/bgpd.vty", "vty/zebra.vty"}}};
  std::size_t count = 0;
  for (const auto& folder : folders) {
    const auto path = fmt::format("{}/{}", directory, folder.name);
    if (folder.name == except || !std::filesystem::exists(path)) continue;
    if (folder.name == "frr") Frr("", path, {}).withdraw();
    std::vector<supervise::ProcessId> running;
    for (const auto& file : folder.pid_files)
      if (const auto process = supervise::read_pid_file(fmt::format("{}/{}", path, file))) running.push_back(*process);
    supervise::terminate(running, grace);
    // Those that were started by an agent that had no time to write it down.
    for (const auto& socket : folder.sockets) end_listener(fmt::format("{}/{}", path, socket));
    remove_directory(path);
    count += running.size();
  }
  return count;
}

}  // namespace weft::speaker
