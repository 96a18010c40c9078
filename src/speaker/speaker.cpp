#include "speaker/speaker.h"

#include <filesystem>

#include "speaker/bird.h"
#include "speaker/conversation.h"
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

std::size_t end_speakers(const std::string& directory) {
  std::vector<supervise::ProcessId> running;
  for (const auto* file : {"/bird/bird.pid", "/frr/bgpd.kept", "/frr/zebra.kept"})
    if (const auto process = supervise::read_pid_file(directory + file)) running.push_back(*process);
  supervise::terminate(running, grace);
  // Those that were started by an agent that had no time to write it down.
  for (const auto* socket : {"/bird/bird.ctl", "/frr/vty/bgpd.vty", "/frr/vty/zebra.vty"})
    end_listener(directory + socket);
  std::error_code error;
  std::filesystem::remove_all(directory, error);
  return running.size();
}

}  // namespace weft::speaker
